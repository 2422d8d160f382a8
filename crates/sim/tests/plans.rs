//! Every plan in `plans/`, made small: all who stay get everything, and the same seed gives the same run.

use p2p_fileshare_sim::{Config, Plan, PlanError};

fn plans() -> Vec<Plan> {
    let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/plans")).unwrap();
    let mut paths: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let small = |path: std::path::PathBuf| {
        let name = path.file_stem().unwrap().to_string_lossy();
        let plan = Plan::parse(&name, &std::fs::read_to_string(&path).unwrap()).unwrap();
        Plan { peers: 10, pieces: 16, ..plan }
    };
    paths.into_iter().map(small).collect()
}

#[test]
fn everyone_who_stays_gets_everything() {
    for plan in plans() {
        let outcome = p2p_fileshare_sim::run(&plan, 1, &Config::default());
        // Also where the only seeder crashes after a copy and a twentieth: it sends every piece once before any twice.
        assert!(outcome.last().is_some(), "{}", plan.command(1, false));
    }
}

#[test]
fn receivers_with_slow_links_fill_them() {
    let text = include_str!("../plans/slow-links.toml");
    let plan = Plan { peers: 10, ..Plan::parse("slow-links", text).unwrap() };
    let outcome = p2p_fileshare_sim::run(&plan, 1, &Config::default());
    // One after another it takes three times as long as a link needs.
    let last = outcome.last().unwrap() / outcome.bound;
    assert!(last <= 1.3, "{last}");
}

#[test]
fn little_more_than_one_copy_crosses_a_thin_link() {
    let plan = Plan::parse("thin-link", include_str!("../plans/thin-link.toml")).unwrap();
    let outcome = p2p_fileshare_sim::run(&plan, 1, &Config::default());
    // Where those near always came first, and strangers near were not believed, it was 1.62 and 1.79; where a piece was offered at its
    // first byte, 1.31 and 1.32.
    assert!(outcome.crossed <= 1.1, "{}", outcome.crossed);
    let last = outcome.last().unwrap() / outcome.bound;
    assert!(last <= 1.15, "{last}");
}

#[test]
fn to_say_where_one_is_costs_little_where_no_link_is_thin() {
    let plan = Plan::parse("wide-link", include_str!("../plans/wide-link.toml")).unwrap();
    let last = |plan: &Plan| p2p_fileshare_sim::run(plan, 1, &Config::default()).last().unwrap();
    let (told, untold) = (last(&plan), last(&Plan { sites_told: false, ..plan.clone() }));
    assert!(told <= 1.05 * untold, "{told} {untold}");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for plan in plans() {
        let trace = |seed| p2p_fileshare_sim::run(&plan, seed, &Config::default()).trace;
        assert_eq!(trace(7), trace(7), "plan {}", plan.name);
        assert_ne!(trace(7), trace(8), "plan {}", plan.name);
    }
}

#[test]
fn a_plan_with_unknown_fields_or_impossible_numbers_is_refused() {
    let with = |line: &str| {
        let text =
            format!("about = \"\"\npeers = 1\npieces = 1\ncopy_seconds = 1\n[[group]]\nname = \"one\"\n{line}\n");
        Plan::parse("name", &text)
    };
    assert!(with("").is_ok());
    let error = with("uplaod = 2").unwrap_err();
    assert!(error.to_string().contains("uplaod"), "{error}");
    for line in [
        "range = [0.5, 0.5]",
        "wrong = 1.5",
        "mean_stay = 0",
        "share = 2",
        "arrive_within = -1",
        "loss = 1",
        "contents = [2]",
        "hostile = [{ answers = \"trickle\" }]",
        "hostile = [{ answers = \"silent\", rate = 1 }]",
        "hostile = [{ answers = \"silent\" }]\nholds = \"all\"",
        "addresses = 0",
        "address_of = \"nobody\"",
    ] {
        assert!(matches!(with(line), Err(PlanError::Range { .. })), "{line}");
    }
}
