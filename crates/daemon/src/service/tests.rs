//! A service in this process, with shares, downloads and trackers that go.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::AtomicUsize;

use peer::{ContentId, Identity, MemoryNetwork, Secret, Ticket, TrackerAddress, manifest_path, received_path};

use super::*;
use crate::control::{Answer, Answering, Doing, ErrorCode, Kind, Request, Which};
use crate::nodes::AddressesOf;

/// A service in a folder, whose tracker does not answer.
async fn service(folder: &Path) -> ServiceRun {
    service_at(folder, Box::new(<[SocketAddr]>::to_vec)).await
}

/// The same, whose tickets have these addresses.
async fn service_at(folder: &Path, addresses: AddressesOf) -> ServiceRun {
    let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let (network, folder_of_nodes) = (MemoryNetwork::new(), folder.to_owned());
    let new_node = move || {
        let transport = network.bind(&Identity::generate().unwrap(), vec![at(0)]).unwrap();
        Node::builder(Arc::new(transport)).hashes(folder_of_nodes.join("hashes")).output(&folder_of_nodes)
    };
    let node = new_node();
    let id = Identity::generate().unwrap().peer_id();
    let home = Home {
        node,
        trackers: vec![TrackerAddress { addresses: vec![at(1)], id, name: None }],
        addresses,
        is_told: true,
        secrets: None,
        own_tracker: None,
        open_url: None,
        check_url: None,
    };
    let settings = Settings { up: None, down: None, at_once: 1 };
    let config = ServiceConfig {
        state: folder.join("state"),
        downloads: folder.to_owned(),
        home,
        new_node: Box::new(move || Ok(new_node())),
        settings: settings.clone(),
        read_settings: Box::new(move || Ok(settings.clone())),
    };
    Service::start(config, &Place::of_daemon(Some(&folder.join("control"))).unwrap()).await.unwrap()
}

/// An entry that shares a file, by which a manifest of it is there.
async fn shared(service: &Service, path: &Path) -> (Running, ContentStatus) {
    std::fs::write(path, "here").unwrap();
    let saved = SavedContent { number: 1, path: path.display().to_string(), ..SavedContent::default() };
    let mut share = service.begin(saved);
    let is_shared = |view: &ContentStatus| view.state == Doing::Sharing && !view.ticket.is_empty();
    let shared = share.view.wait_for(is_shared).await.unwrap().clone();
    (share, shared)
}

fn download(folder: &Path, ticket: String, shared: &ContentStatus) -> SavedContent {
    let (path, content) = (folder.display().to_string(), shared.content.clone());
    SavedContent { number: 2, kind: Kind::Download, path, ticket, content, ..SavedContent::default() }
}

#[tokio::test]
async fn a_ticket_of_what_another_entry_has_is_here_with_that() {
    let folder = tempfile::tempdir().unwrap();
    let run = service(folder.path()).await;
    let (share, shared) = shared(run.service(), &folder.path().join("file")).await;
    let mut other = run.service().begin(download(folder.path(), shared.ticket.clone(), &shared));
    let here = other.view.wait_for(|view| view.state == Doing::Sharing).await.unwrap().clone();
    assert!(here.reason.contains("number 1") && here.path == shared.path && here.size == 4, "{here:?}");
    share.wish.send_modify(|wish| wish.run = Run::Remove);
    other.view.wait_for(|view| view.reason != here.reason).await.unwrap();
}

#[tokio::test]
async fn a_complete_download_whose_tracker_is_gone_makes_room_until_it_is_told_to_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let run = service(folder.path()).await;
    let (_share, shared) = shared(run.service(), &folder.path().join("file")).await;
    let hashes = folder.path().join("hashes");
    let received = received_path(&hashes, shared.content.parse().unwrap());
    std::fs::create_dir_all(received.parent().unwrap()).unwrap();
    std::fs::copy(manifest_path(&hashes, "file"), received).unwrap();
    let tracker = Identity::generate().unwrap().peer_id();
    let secret = Secret::new([7; 16]);
    let ticket = Ticket::private(tracker, vec!["127.0.0.1:1".parse().unwrap()], secret, None).unwrap();
    let mut content = run.service().begin(download(folder.path(), ticket.to_string(), &shared));
    let is_shared = |view: &ContentStatus| view.state == Doing::Sharing;
    content.view.wait_for(is_shared).await.unwrap();
    assert_eq!(run.service().nodes.all().len(), 2);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(3600)).await;
    content.view.wait_for(|view| view.reason.contains("when the tracker of its ticket is back")).await.unwrap();
    assert_eq!(run.service().nodes.all().len(), 1);
    tokio::time::resume();
    content.go_on();
    content.view.wait_for(is_shared).await.unwrap();
}

#[tokio::test]
async fn of_several_tickets_in_a_text_none_is_downloaded() {
    let folder = tempfile::tempdir().unwrap();
    let run = service(folder.path()).await;
    let tracker = Identity::generate().unwrap().peer_id();
    let ticket = |secret| {
        let addresses = vec!["127.0.0.1:1".parse().unwrap()];
        Ticket::private(tracker, addresses, Secret::new([secret; 16]), None).unwrap()
    };
    let request = |what| Request::Add { what, folder: None, force: false, only: Vec::new() };
    let (answers, mut answered) = mpsc::channel(16);
    let two = format!("{}\n{}", ticket(1), ticket(2));
    run.service().clone().answer(request(two), answers.clone()).await;
    let refused = answered.recv().await.unwrap();
    let sentence = "these are 2 tickets: give each on its own".to_owned();
    assert_eq!(refused, Answer::Error { code: ErrorCode::Usage, message: sentence });
    assert!(run.service().inner().contents.is_empty());
    run.service().clone().answer(request(format!("{0}\n{0}.", ticket(1))), answers).await;
    assert_eq!(run.service().inner().contents.len(), 1, "the same twice is one");
}

#[tokio::test]
async fn what_stays_of_a_download_is_said_that_was_paused_before_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let run = service(folder.path()).await;
    let saved = SavedContent {
        number: 7,
        kind: Kind::Download,
        path: folder.path().display().to_string(),
        name: "a.bin".to_owned(),
        paused: true,
        ..SavedContent::default()
    };
    let content = run.service().begin(saved);
    run.service().inner().contents.push(content);
    let (answers, mut answered) = mpsc::channel(16);
    let which = Which::These(vec!["7".to_owned()]);
    run.service().clone().answer(Request::Remove { which }, answers).await;
    let mut last = None;
    while let Some(answer) = answered.recv().await {
        last = Some(answer);
    }
    assert!(matches!(&last, Some(Answer::Done { note, .. }) if note.contains("unfinished data of a.bin")), "{last:?}");
}

/// As completion in a shell leaves them.
#[tokio::test]
async fn a_path_is_the_same_with_a_separator_at_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let run = service(folder.path()).await;
    let at = folder.path().join("shared").display().to_string();
    std::fs::create_dir(&at).unwrap();
    std::fs::write(folder.path().join("shared/file"), "here").unwrap();
    let (answers, mut answered) = mpsc::channel(64);
    let ticket = Ticket::private(
        Identity::generate().unwrap().peer_id(),
        vec!["127.0.0.1:1".parse().unwrap()],
        Secret::new([1; 16]),
        None,
    );
    let ticket = ticket.unwrap().to_string();
    for end in ["", "/", "//."] {
        let add = |what: &str, folder| Request::Add { what: what.to_owned(), folder, force: false, only: Vec::new() };
        let spelled = format!("{at}{end}");
        for request in [add(&spelled, None), add(&ticket, Some(spelled.clone()))] {
            run.service().clone().answer(request, answers.clone()).await;
        }
    }
    while let Ok(answer) = answered.try_recv() {
        assert!(!matches!(answer, Answer::Error { .. }), "{answer:?}");
    }
    assert_eq!(run.service().inner().contents.len(), 2);
}

#[tokio::test]
async fn a_share_says_that_its_tracker_does_not_answer() {
    let folder = tempfile::tempdir().unwrap();
    let run = service(folder.path()).await;
    let path = folder.path().join("file");
    let (mut share, _) = shared(run.service(), &path).await;
    tokio::time::pause();
    let sentence = "there is no connection with the tracker 127.0.0.1:1: nobody new finds it";
    let silent = share.view.wait_for(|view| view.reason == sentence).await.unwrap().clone();
    assert_eq!(silent.state, Doing::Sharing);
    tokio::time::resume();
    share.wish.send_modify(|wish| wish.run = Run::Remove);
    share.task.await.unwrap();
    let (tell, mut told) = mpsc::channel(16);
    let what = path.display().to_string();
    run.service().clone().answer(Request::Add { what, folder: None, force: false, only: Vec::new() }, tell).await;
    let mut last = None;
    while let Some(answer) = told.recv().await {
        last = Some(answer);
    }
    assert!(matches!(&last, Some(Answer::Done { note, .. }) if note == sentence), "{last:?}");
}

#[tokio::test]
async fn the_system_is_asked_for_addresses_once_for_all_tickets() {
    let (folder, asked) = (tempfile::tempdir().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counted = asked.clone();
    let addresses = move |known: &[SocketAddr]| {
        counted.fetch_add(1, Ordering::Relaxed);
        known.to_vec()
    };
    let run = service_at(folder.path(), Box::new(addresses)).await;
    for number in 0..100 {
        let content: ContentId = format!("{number:02x}").repeat(32).parse().unwrap();
        assert_eq!(run.service().nodes.ticket(content).unwrap().content(), Some(content));
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn it_ends_when_its_node_does() {
    let folder = tempfile::tempdir().unwrap();
    let run = service(folder.path()).await;
    run.service().home().shutdown().await;
    assert_eq!(run.run().await, Fault::Home);
}

#[tokio::test]
async fn it_ends_when_nothing_looks_after_a_content() {
    let folder = tempfile::tempdir().unwrap();
    let run = service(folder.path()).await;
    let path = folder.path().join("gone").display().to_string();
    let content = run.service().begin(SavedContent { number: 7, path, ..SavedContent::default() });
    content.task.abort();
    run.service().inner().contents.push(content);
    assert_eq!(run.run().await, Fault::Content(7));
}
