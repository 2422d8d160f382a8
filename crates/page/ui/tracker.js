
// The page of a tracker: all contents, and of one of them the whole crowd beside the best possible.

function startTracker() {
  say(el("program"), "tracker");
  el("rates").hidden = true;
  el("pieces").hidden = true;
  el("crowd").hidden = false;
  const watched = { content: null, peers: new Map(), links: "", last: null, history: { curves: new Map() } };
  let close = null;

  const contents = new Table(el("contents-table"), "Contents", trackedColumns(), (key) => watch(key));
  const peers = new Table(el("peers-table"), "Peers of the content", peerColumns("From"), null);

  el("filter").addEventListener("input", (event) => {
    const wanted = event.target.value.trim().toLowerCase();
    const fits = (row) => row.name.toLowerCase().includes(wanted) || row.content.startsWith(wanted);
    contents.show(wanted ? fits : null);
  });

  function open() {
    let isFirst = true;
    const handlers = {
      contents: (event) => {
        if (isFirst) contents.clear();
        isFirst = false;
        for (const content of event.contents) contents.set(content.content, content);
        for (const gone of event.removed) contents.remove(gone);
        const part = event.sampled ? ` Only the newest ${contents.rows.size.toLocaleString("en")} are shown.` : "";
        say(el("contents-note"), `${plural(event.total, "content", "contents")}.${part}`);
      },
      totals: (event) => {
        facts(el("totals"), [
          ["Peers", event.peers.toLocaleString("en")],
          ["Contents", event.contents.toLocaleString("en")],
          ["Announcements", event.announces.toLocaleString("en")],
          ["Refused", event.refusals.toLocaleString("en")],
          ["Memory", bytes(event.memory)],
        ]);
      },
      log: showLog,
    };
    new Stream("/api/v1/events", handlers, (text, good) => {
      isFirst = isFirst || good;
      if (good) el("log-lines").replaceChildren();
      showState(text, good);
    });
  }

  function watch(key) {
    if (close) close.close();
    Object.assign(watched, { content: key, last: null });
    el("close").hidden = false;
    say(el("close-title"), (contents.rows.get(key) || {}).name || key.slice(0, 16));
    close = new Stream(`/api/v1/contents/${key}/events${watched.links ? `?${watched.links.slice(1)}` : ""}`, { crowd: showCrowd }, (text, good) => {
      if (!good) {
        showState(text, false);
        return;
      }
      watched.peers.clear();
      watched.history = { curves: new Map() };
      peers.clear();
    });
  }

  function showCrowd(event) {
    if (event.content !== watched.content) return;
    watched.last = event;
    for (const gone of event.peers_gone) {
      watched.peers.delete(gone);
      peers.remove(gone);
    }
    for (const peer of event.peers) watched.peers.set(peer.peer, peer);
    const called = (id) => (watched.peers.get(id) || {}).address || id.slice(0, 12);
    const shown = [...watched.peers.values()].map((peer) => trackedRow(peer, called));
    shown.forEach((row) => peers.set(row.key, row));
    lines(el("sites"), bySite(shown));
    const flows = [...watched.peers.values()].flatMap((peer) =>
      peer.from.map(([from, flow]) => ({ from: called(from), to: called(peer.peer), rate: flow })),
    );
    lines(el("flows"), topFlows(flows));
    const silent = shown.filter((row) => row.has === "?").length;
    const parts = [`${plural(event.peers_total, "peer", "peers")}.`];
    if (event.peers_total > watched.peers.size) parts.push(`${watched.peers.size.toLocaleString("en")} of them are shown.`);
    if (event.sampled) parts.push("More change than are shown each second: each has its turn.");
    if (silent) parts.push(`${plural(silent, "peer has", "peers have")} not said so far how it stands.`);
    say(el("peers-note"), parts.join(" "));
    say(el("close-state"), `${bytes(event.size)} in ${plural(event.pieces, "piece", "pieces")}.`);
    say(el("verdict"), event.verdict);
    el("verdict").className = { network: "good", swarm: "bad", unknown: "" }[event.slow] || "";
    remember(event.samples);
    drawCrowd();
  }

  // Samples of before that still hold, and those that are new.
  function remember(samples) {
    const history = watched.history;
    for (const name of ["times", "slowest", "median", "fastest", "complete"]) {
      history[name] = (history[name] || []).slice(0, samples.keep).concat(samples[name]);
    }
    const curves = new Map();
    for (const [peer, values] of Object.entries(samples.curves)) {
      const before = (history.curves.get(peer) || []).slice(0, samples.keep);
      while (before.length < samples.keep) before.push(null);
      curves.set(peer, before.concat(values));
    }
    history.curves = curves;
  }

  function drawCrowd() {
    const event = watched.last;
    const { times, slowest, median, fastest, complete, curves } = watched.history;
    if (!event || !times || times.length === 0) return;
    const end = Math.max(times[times.length - 1], event.best ? event.best[1][0] : 0);
    const points = (values) => values.map((value, at) => [times[at], value]).filter((point) => point[1] !== null);
    const shown = [
      { name: "median peer", color: "one", points: points(median) },
      { name: "complete peers", color: "three", points: points(complete) },
    ];
    if (event.best) shown.push({ name: "best possible, last peer", color: "two", dash: true, points: event.best });
    const band = times.map((time, at) => [time, slowest[at], fastest[at]]);
    const text = (value) => `${Math.round(value / 10)}%`;
    chart(el("crowd-chart"), { lines: shown, faint: [...curves.values()].map(points), band, text, most: 1000, from: times[0], until: end });
    el("crowd-chart").setAttribute("aria-label", `Completion of all peers over time. ${event.verdict}`);
    const drawn =
      curves.size < 100
        ? "Each peer that gets it has a curve; the band is from the slowest to the fastest."
        : "A hundred peers have a curve of their own; the band, the median and the complete ones are of all that report, 5,000 at most.";
    say(el("crowd-note"), `${drawn} Recorded while a page looks on.`);
  }

  el("links").addEventListener("submit", (event) => {
    event.preventDefault();
    let links = "";
    for (const name of ["uplink", "downlink"]) {
      const value = Number(event.target[name].value.trim().replace(",", "."));
      if (Number.isFinite(value) && value > 0) links += `&${name}=${Math.round(value * 125000)}`;
    }
    watched.links = links;
    if (watched.content !== null) watch(watched.content);
  });
  redrawn(drawCrowd);
  open();
}

function trackedColumns() {
  const all = (row) => row.seeders + row.others;
  return [
    { title: "Name", kind: "text", width: "minmax(8rem, 3fr)", text: (row) => row.name || row.content.slice(0, 16), by: (row) => row.name.toLowerCase() },
    { title: "Size", kind: "number", width: "5.5rem", text: (row) => bytes(row.size), by: (row) => row.size },
    { title: "Complete", kind: "bar", width: "6rem", text: (row) => `${row.seeders} of ${all(row)}`, by: (row) => percent(row.seeders, all(row)) },
    { title: "Getting it", kind: "number", width: "6rem", text: (row) => String(row.downloaders), by: (row) => row.downloaders },
    { title: "Id", kind: "text", width: "minmax(6rem, 1fr)", wide: true, text: (row) => row.content, by: (row) => row.content },
  ];
}

function trackedRow(peer, called) {
  const complete = peer.role === "seeder";
  const share = complete ? 100 : percent(peer.have, peer.pieces);
  return {
    key: peer.peer,
    called: peer.address || peer.peer.slice(0, 12),
    site: peer.site,
    has: complete || peer.reports ? `${complete ? 100 : Math.min(share, peer.role === "downloader" ? 99 : 100)}%` : "?",
    share,
    complete,
    down: peer.down,
    up: peer.up,
    about: peer.from.map(([from, flow]) => `${called(from)} ${rate(flow)}`).join(", "),
  };
}
