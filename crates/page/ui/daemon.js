
// The page of a daemon: what it shares and downloads, one content closely, and what is done about it.

function startDaemon() {
  say(el("program"), "daemon");
  const totals = new Track(300);
  const watched = { number: null, peers: new Map(), tracks: new Map(), map: [] };
  let close = null;
  let isConnected = false;

  const contents = new Table(el("contents-table"), "Contents", contentColumns(), (key) => watch(key));
  const peers = new Table(el("peers-table"), "Peers of the content", peerColumns("Sent and received"), null);

  el("filter").addEventListener("input", (event) => {
    const wanted = event.target.value.trim().toLowerCase();
    const fits = (row) => row.name.toLowerCase().includes(wanted) || row.content.startsWith(wanted) || row.state === wanted;
    contents.show(wanted ? fits : null);
  });

  function open() {
    // A stream that begins anew says everything again.
    let isFirst = true;
    const handlers = {
      contents: (event) => {
        changed(event, isFirst);
        isFirst = false;
      },
      totals: showTotals,
      log: showLog,
    };
    new Stream("/api/v1/events", handlers, (text, good) => {
      isConnected = good;
      isFirst = isFirst || good;
      if (good) el("log-lines").replaceChildren();
      showState(text, good);
    });
  }

  function changed(event, isFirst) {
    if (isFirst) contents.clear();
    for (const content of event.contents) contents.set(content.number, content);
    for (const number of event.removed) contents.remove(number);
    if (event.order) contents.arrange(event.order);
    const more = event.sampled && contents.rows.size === event.total;
    const part = more ? ` More change than are shown each second: each has its turn.` : "";
    say(el("contents-note"), `${plural(event.total, "content", "contents")}.${part}`);
  }

  function showTotals(event) {
    const [down, up] = totals.count(event.received, event.sent);
    const [quic, tcp, relay, other] = event.connections;
    facts(el("totals"), [
      ["Down", rate(down) || "0"],
      ["Up", rate(up) || "0"],
      ["Received", bytes(event.received)],
      ["Sent", bytes(event.sent)],
      ["Limits", `↓ ${rate(event.down) || "none"}, ↑ ${rate(event.up) || "none"}`],
      ["Connections", `${quic} QUIC, ${tcp} TCP, ${relay + other} relayed or other`],
      ["Tracker", event.joined ? "joined" : "not reached so far"],
    ]);
    for (const name of ["up", "down"]) {
      el("limit")[name].placeholder = event[name] ? (event[name] / 1048576).toFixed(1) : "none";
    }
    el("steer").hidden = !event.trusted;
    el("actions").hidden = !event.trusted;
    drawRates();
  }

  function drawRates() {
    const lines = [
      { name: "down", color: "one", points: totals.line(1) },
      { name: "up", color: "two", points: totals.line(2) },
    ];
    chart(el("rates-chart"), { lines, text: (value) => rate(value) || "0" });
    const last = totals.points[totals.points.length - 1] || [0, 0, 0];
    el("rates-chart").setAttribute("aria-label", `Receives ${rate(last[1]) || "nothing"}, sends ${rate(last[2]) || "nothing"}`);
  }

  function forget() {
    Object.assign(watched, { peers: new Map(), tracks: new Map(), map: [] });
    peers.clear();
  }

  function watch(key) {
    if (close) close.close();
    watched.number = Number(key);
    el("close").hidden = false;
    say(el("close-title"), (contents.rows.get(key) || {}).name || `Content ${key}`);
    const handlers = { content: showClose, gone: leave };
    close = new Stream(`/api/v1/contents/${key}/events`, handlers, (text, good, isRefused) => {
      if (good) forget();
      // It was removed while the page was not seen.
      else if (isRefused && !contents.rows.has(key)) leave();
      else showState(text, false);
    });
  }

  function leave() {
    if (close) close.close();
    close = null;
    watched.number = null;
    el("close").hidden = true;
    if (isConnected) showState("", true);
  }

  function showClose(event) {
    const content = event.content;
    if (content.number !== watched.number) return;
    if (event.map.length) watched.map = event.map;
    const parts = [stateOf(content), content.reason, event.waits, limitOf(event.limited_by)];
    say(el("close-title"), content.name || `Content ${content.number}`);
    say(el("close-state"), parts.filter((part) => part).join(" "));
    pieceMap(el("map"), watched.map, event.lacking);
    for (const gone of event.peers_gone) {
      watched.peers.delete(gone);
      watched.tracks.delete(gone);
      peers.remove(gone);
    }
    for (const peer of event.peers) watched.peers.set(peer.peer, peer);
    const shown = [...watched.peers.values()].map((peer) => {
      const track = watched.tracks.get(peer.peer) || new Track(4);
      watched.tracks.set(peer.peer, track);
      const [down, up] = track.count(peer.received, peer.sent);
      return peerRow(peer, down, up);
    });
    shown.forEach((row) => peers.set(row.key, row));
    lines(el("sites"), bySite(shown.filter((row) => row.connected)));
    const flows = shown.flatMap((row) => [
      { from: row.called, to: "this peer", rate: row.down },
      { from: "this peer", to: row.called, rate: row.up },
    ]);
    lines(el("flows"), topFlows(flows));
    const sampled = event.sampled ? " More change than are shown each second: each has its turn." : "";
    say(el("peers-note"), `${plural(event.peers_total, "peer", "peers")} now or before, 1,024 at most.${sampled}`);
  }

  el("actions").addEventListener("click", (event) => {
    const does = event.target.dataset.does;
    if (does && watched.number !== null) ask(does, { which: { these: [String(watched.number)] } });
  });
  el("add").addEventListener("submit", (event) => {
    event.preventDefault();
    const form = event.target;
    ask("add", { what: form.what.value.trim() }).then((done) => done && form.reset());
  });
  el("limit").addEventListener("submit", (event) => {
    event.preventDefault();
    const limits = {};
    for (const name of ["up", "down"]) {
      const text = event.target[name].value.trim().toLowerCase().replace(",", ".");
      const value = Number(text) * 1048576;
      if (text === "") continue;
      if (text === "none") limits[name] = 0;
      else if (text === "default") limits[name] = text;
      else if (Number.isFinite(value) && value >= 1) limits[name] = Math.round(value);
      else {
        answer(`${text} is no rate: write it like 12.5, none for no limit, or default for the daemon's settings`, true);
        return;
      }
    }
    if (Object.keys(limits).length === 0) {
      answer("Nothing was changed: write a rate like 12.5, none for no limit, or default for the daemon's settings.", false);
      return;
    }
    const form = event.target;
    ask("limit", limits).then((done) => done && form.reset());
  });
  redrawn(drawRates);
  open();
}

// What something holds up, in words.
function limitOf(name) {
  const limits = {
    peers: "So far it was held up by peers that sent nothing.",
    network: "So far it was held up by the network, or by how fast peers send.",
    rate_cap: "So far it was held up by the limit on what is received.",
    disk: "So far it was held up by the disk.",
    hashing: "So far it was held up by hashing.",
  };
  return limits[name] || "";
}

function stateOf(content) {
  const share = `${bytes(content.size)}, ${content.have.toLocaleString("en")} of ${content.pieces.toLocaleString("en")} pieces`;
  const hashed = content.state === "hashing" ? ` (${bytes(content.hashed[0])} of ${bytes(content.hashed[1])})` : "";
  return `${content.state}${hashed}: ${share}, received ${bytes(content.received)}, sent ${bytes(content.sent)}.`;
}

function contentColumns() {
  const share = (row) => (row.state === "hashing" ? percent(row.hashed[0], row.hashed[1]) : percent(row.have, row.pieces));
  return [
    { title: "Name", kind: "text", width: "minmax(8rem, 3fr)", text: (row) => row.name || row.content || `#${row.number}`, by: (row) => row.name.toLowerCase() },
    { title: "State", kind: "text", width: "minmax(5rem, 1fr)", text: (row) => row.state, by: (row) => row.state },
    { title: "Has", kind: "bar", width: "6rem", text: (row) => `${share(row)}%`, by: share },
    { title: "Size", kind: "number", width: "5.5rem", wide: true, text: (row) => bytes(row.size), by: (row) => row.size },
    { title: "Rate", kind: "number", width: "6rem", text: (row) => rate(row.rate), by: (row) => row.rate },
    { title: "Peers", kind: "number", width: "4rem", wide: true, text: (row) => String(row.peers), by: (row) => row.peers },
    { title: "Held up by", kind: "text", width: "minmax(6rem, 3fr)", wide: true, text: (row) => row.reason, by: (row) => row.reason },
  ];
}

function peerRow(peer, down, up) {
  const share = percent(peer.have, peer.size);
  return {
    key: peer.peer,
    called: peer.address || peer.peer.slice(0, 12),
    site: peer.site,
    has: `${share}%`,
    share,
    complete: peer.size > 0 && peer.have >= peer.size,
    connected: peer.connected,
    down,
    up,
    about: `↑ ${bytes(peer.sent)}, ↓ ${bytes(peer.received)}${peer.connected ? "" : ", has left"}`,
  };
}

function answer(text, bad) {
  say(el("answer"), text);
  el("answer").toggleAttribute("data-bad", bad);
}

// Has the daemon do something. The browser adds the token that the user gave it.
async function ask(does, what) {
  answer("…", false);
  try {
    const response = await fetch(`/api/v1/${does}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(what),
      credentials: "same-origin",
    });
    const text = await response.text();
    const said = response.headers.get("content-type")?.startsWith("application/json") ? JSON.parse(text) : { message: text };
    if (!response.ok) {
      answer(said.message || "It is refused.", true);
      return false;
    }
    answer(said.note || "Done.", false);
    return true;
  } catch (error) {
    answer("The daemon does not answer.", true);
    return false;
  }
}

const MOST_LINES = 500;

function showLog(event) {
  const box = el("log-lines");
  el("log").hidden = false;
  const isAtEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 8;
  for (const line of event.lines) box.append(make("div", /\bERROR\b/.test(line) ? "bad" : /\bWARN\b/.test(line) ? "warn" : "", line));
  while (box.children.length > MOST_LINES) box.firstChild.remove();
  if (isAtEnd) box.scrollTop = box.scrollHeight;
}
