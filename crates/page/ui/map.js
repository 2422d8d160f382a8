
// Which parts of a content are here: a square each, the fuller the stronger.

function pieceMap(canvas, parts, lacking) {
  const { pen, width, height } = brush(canvas);
  if (parts.length === 0 || width === 0) {
    canvas.setAttribute("aria-label", "Nothing is known of its pieces yet");
    return;
  }
  // As square as they fit.
  let side = Math.max(2, Math.floor(Math.sqrt((width * height) / parts.length)));
  while (side > 2 && Math.ceil(parts.length / Math.floor(width / side)) * side > height) side -= 1;
  const across = Math.max(1, Math.floor(width / side));
  const [full, empty] = [color("accent"), color("line")];
  parts.forEach((part, at) => {
    const [left, top] = [(at % across) * side, Math.floor(at / across) * side];
    pen.globalAlpha = 1;
    pen.fillStyle = empty;
    pen.fillRect(left, top, side - 1, side - 1);
    if (part > 0) {
      pen.globalAlpha = 0.2 + 0.8 * (part / 100);
      pen.fillStyle = full;
      pen.fillRect(left, top, side - 1, side - 1);
    }
  });
  pen.globalAlpha = 1;
  const whole = parts.filter((part) => part === 100).length;
  const lack = lacking > 0 ? `; ${plural(lacking, "piece is", "pieces are")} with no connected peer` : "";
  canvas.setAttribute("aria-label", `${whole} of ${parts.length} parts are complete${lack}`);
}
