//! Where S3 is, and with which credentials: the environment, then the profile of `~/.aws`, its keys or its program, then the role of the
//! machine, as its own tools look.

use std::collections::HashMap;
use std::env;
use std::path::PathBuf;
use std::sync::Arc;

use object_store::aws::AmazonS3Builder;

use super::credential_process::CredentialProcess;

/// A store of a bucket that is configured but for its client.
pub(super) fn builder(bucket: &str, told: Option<&str>) -> AmazonS3Builder {
    let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
    let profile = Profile::of_this_user();
    let is_set = |name: &str| env::var_os(name).is_some();
    let keys = profile.get("aws_access_key_id").zip(profile.get("aws_secret_access_key"));
    if let Some((key, secret)) = keys.filter(|_| !is_set("AWS_ACCESS_KEY_ID")) {
        builder = builder.with_access_key_id(key).with_secret_access_key(secret);
        if let Some(token) = profile.get("aws_session_token") {
            builder = builder.with_token(token);
        }
    } else if !["AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE"].into_iter().any(is_set)
        && let Some(process) = profile.get("credential_process").and_then(CredentialProcess::new)
    {
        builder = builder.with_credentials(Arc::new(process));
    }
    let in_environment = ["AWS_REGION", "AWS_DEFAULT_REGION"].iter().find_map(|name| env::var(name).ok());
    if let Some(region) = in_environment.or_else(|| profile.get("region").map(str::to_owned)) {
        builder = builder.with_region(region);
    }
    if let Some(endpoint) =
        told.map(str::to_owned).or_else(endpoint).or_else(|| profile.get("endpoint_url").map(str::to_owned))
    {
        builder = builder.with_endpoint(endpoint);
    }
    builder
}

/// The server that the environment names.
fn endpoint() -> Option<String> {
    ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"].iter().find_map(|name| env::var(name).ok())
}

/// What the files of `~/.aws` say of one profile.
struct Profile(HashMap<String, String>);

impl Profile {
    fn of_this_user() -> Self {
        let name = env::var("AWS_PROFILE").unwrap_or_else(|_| "default".to_owned());
        let folder = env::home_dir().map(|home| home.join(".aws"));
        let file = |variable: &str, usual: &str| {
            let path = env::var_os(variable).map(PathBuf::from).or_else(|| Some(folder.as_ref()?.join(usual)))?;
            std::fs::read_to_string(path).ok()
        };
        let config = file("AWS_CONFIG_FILE", "config").unwrap_or_default();
        let credentials = file("AWS_SHARED_CREDENTIALS_FILE", "credentials").unwrap_or_default();
        Profile::read(&name, &config, &credentials)
    }

    /// Credentials count more than what the other file says.
    fn read(name: &str, config: &str, credentials: &str) -> Self {
        let mut all = section(config, &[name, &format!("profile {name}")]);
        all.extend(section(credentials, &[name]));
        Profile(all)
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }
}

/// The keys and values of a section with one of these names. Indented lines are of nested tables, which have nothing for us.
fn section(text: &str, names: &[&str]) -> HashMap<String, String> {
    let mut found = HashMap::new();
    let mut inside = false;
    for line in text.lines() {
        if let Some(heading) = line.trim().strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            let heading: Vec<_> = heading.split_whitespace().collect();
            inside = names.contains(&heading.join(" ").as_str());
        } else if inside
            && !line.starts_with([' ', '\t', '#', ';'])
            && let Some((key, value)) = line.split_once('=')
        {
            found.insert(key.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_read_from_both_files() {
        let config = "[default]\nregion = eu-west-1\n[profile work]\nregion=us-east-2\ns3 =\n  addressing_style = path\naws_access_key_id = old\n";
        let credentials =
            "# mine\n[default]\naws_access_key_id = A\naws_secret_access_key = a=/+\n\n[work]\naws_access_key_id=W\r\n";
        let usual = Profile::read("default", config, credentials);
        assert_eq!((usual.get("region"), usual.get("aws_secret_access_key")), (Some("eu-west-1"), Some("a=/+")));
        let work = Profile::read("work", config, credentials);
        assert_eq!((work.get("region"), work.get("aws_access_key_id")), (Some("us-east-2"), Some("W")));
        assert_eq!(work.get("addressing_style"), None);
        assert_eq!(Profile::read("none", config, credentials).get("region"), None);
    }
}
