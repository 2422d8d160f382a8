
// Peers of one content: a table, and the same by site. `flows` are who sends to whom, most first.

const MOST_FLOWS = 12;
const MOST_SITES = 12;

function bySite(peers) {
  const sites = new Map();
  for (const peer of peers) {
    const site = sites.get(peer.site) || { peers: 0, complete: 0, down: 0, up: 0 };
    site.peers += 1;
    site.complete += peer.complete ? 1 : 0;
    site.down += peer.down;
    site.up += peer.up;
    sites.set(peer.site, site);
  }
  const sorted = [...sites].sort((one, other) => other[1].peers - one[1].peers || (one[0] < other[0] ? -1 : 1));
  const rows = sorted.slice(0, MOST_SITES).map(([site, sum]) => [
    site || "(no site said)",
    `${plural(sum.peers, "peer", "peers")}, ${sum.complete} complete`,
    `↓ ${rate(sum.down) || "0"}  ↑ ${rate(sum.up) || "0"}`,
  ]);
  if (sorted.length > MOST_SITES) rows.push([`${sorted.length - MOST_SITES} more sites`, "", ""]);
  return rows.length ? rows : [["Nobody takes part.", "", ""]];
}

function topFlows(flows) {
  const sorted = flows.filter((flow) => flow.rate > 0).sort((one, other) => other.rate - one.rate);
  const rows = sorted.slice(0, MOST_FLOWS).map((flow) => [`${flow.from} → ${flow.to}`, "", rate(flow.rate)]);
  if (sorted.length > MOST_FLOWS) rows.push([`${sorted.length - MOST_FLOWS} more`, "", ""]);
  return rows.length ? rows : [["Nothing is sent at the moment.", "", ""]];
}

function peerColumns(first) {
  return [
    { title: "Peer", kind: "text", width: "minmax(8rem, 2fr)", text: (row) => row.called, by: (row) => row.called },
    { title: "Site", kind: "text", width: "minmax(4rem, 1fr)", wide: true, text: (row) => row.site, by: (row) => row.site },
    { title: "Has", kind: "bar", width: "6rem", text: (row) => row.has, by: (row) => row.share },
    { title: "Down", kind: "number", width: "6rem", text: (row) => rate(row.down), by: (row) => row.down },
    { title: "Up", kind: "number", width: "6rem", text: (row) => rate(row.up), by: (row) => row.up },
    { title: first, kind: "text", width: "minmax(6rem, 2fr)", wide: true, text: (row) => row.about, by: (row) => row.about },
  ];
}
