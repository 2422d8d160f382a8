
// Lines over time, in a canvas whose label says the same in words.

// Lines have a name, a color, and points of a time and a value. `faint` lines have no name and are many; `bands` have three values.
function chart(canvas, { lines: shown, faint = [], band = [], text, most = 0, from = null, until = null }) {
  const { pen, width, height } = brush(canvas);
  const [left, right, top, bottom] = [76, 8, 8, 34];
  const all = [...shown.map((line) => line.points), ...faint, band].flat();
  if (all.length === 0 || width === 0) return;
  let begin = from ?? Infinity;
  let end = until ?? -Infinity;
  let highest = most;
  for (const point of all) {
    if (from === null && point[0] < begin) begin = point[0];
    if (until === null && point[0] > end) end = point[0];
    if (most === 0) highest = Math.max(highest, ...point.slice(1));
  }
  const x = (time) => left + ((time - begin) / Math.max(end - begin, 1e-9)) * (width - left - right);
  const y = (value) => height - bottom - (value / (highest || 1)) * (height - top - bottom);
  pen.strokeStyle = color("line");
  pen.fillStyle = color("soft");
  pen.textAlign = "right";
  pen.textBaseline = "middle";
  for (const part of [0, 0.5, 1]) {
    pen.beginPath();
    pen.moveTo(left, y(part * highest));
    pen.lineTo(width - right, y(part * highest));
    pen.stroke();
    pen.fillText(text(part * highest), left - 6, y(part * highest));
  }
  pen.textBaseline = "alphabetic";
  pen.textAlign = "left";
  pen.fillText(begin < 0 ? `${seconds(-begin)} ago` : seconds(begin), left, height - bottom + 14);
  pen.textAlign = "right";
  pen.fillText(begin < 0 ? "now" : seconds(end), width - right, height - bottom + 14);
  const draw = (points, at = 1) => {
    pen.beginPath();
    points.forEach((point, n) => (n === 0 ? pen.moveTo(x(point[0]), y(point[at])) : pen.lineTo(x(point[0]), y(point[at]))));
  };
  if (band.length > 1) {
    draw(band, 1);
    [...band].reverse().forEach((point) => pen.lineTo(x(point[0]), y(point[2])));
    pen.closePath();
    pen.fillStyle = color("faint");
    pen.fill();
  }
  pen.lineWidth = 1;
  pen.strokeStyle = color("faint");
  for (const points of faint) {
    draw(points);
    pen.stroke();
  }
  let label = left;
  pen.textAlign = "left";
  for (const line of shown) {
    pen.strokeStyle = color(line.color);
    pen.fillStyle = color(line.color);
    pen.lineWidth = 2;
    pen.setLineDash(line.dash ? [6, 4] : []);
    draw(line.points);
    pen.stroke();
    pen.fillText(line.name, label, height - 4);
    label += pen.measureText(line.name).width + 16;
  }
  pen.setLineDash([]);
}

// The last values of something that is measured again and again.
class Track {
  constructor(most) {
    this.most = most;
    this.points = [];
    this.before = null;
  }

  // Counters that only grow become rates.
  count(...counts) {
    const now = performance.now() / 1000;
    if (this.before && now > this.before[0]) {
      const gone = now - this.before[0];
      const rates = counts.map((count, at) => Math.max(0, count - this.before[at + 1]) / gone);
      this.points.push([now, ...rates]);
      if (this.points.length > this.most) this.points.shift();
    }
    this.before = [now, ...counts];
    return this.points.length ? this.points[this.points.length - 1].slice(1) : counts.map(() => 0);
  }

  // One of them, by how long ago it was.
  line(at) {
    const now = performance.now() / 1000;
    return this.points.map((point) => [point[0] - now, point[at]]);
  }
}
