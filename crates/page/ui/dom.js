
// Elements. Text from elsewhere is only ever set as text.

function el(id) {
  return document.getElementById(id);
}

function make(tag, classes, text) {
  const made = document.createElement(tag);
  if (classes) made.className = classes;
  if (text !== undefined) made.textContent = text;
  return made;
}

function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// Pairs of a name and a value, with the elements of before where they do.
function facts(list, pairs) {
  while (list.children.length > pairs.length) list.lastChild.remove();
  pairs.forEach(([name, value], at) => {
    let pair = list.children[at];
    if (!pair) {
      pair = make("div");
      pair.append(make("dt"), make("dd"));
      list.append(pair);
    }
    say(pair.firstChild, name);
    say(pair.lastChild, value);
  });
}

// Rows of three texts.
function lines(box, rows) {
  box.className = "list";
  const cells = rows.flat();
  while (box.children.length > cells.length) box.lastChild.remove();
  cells.forEach((text, at) => {
    if (!box.children[at]) box.append(make("span", at % 3 === 0 ? "" : "number"));
    say(box.children[at], text);
  });
}

function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

// What is drawn is drawn again when its size or its colors change.
function redrawn(draw) {
  window.addEventListener("resize", draw);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
}

// A canvas as large as it is shown, in its pixels.
function brush(canvas) {
  const scale = window.devicePixelRatio || 1;
  const width = canvas.clientWidth;
  const height = canvas.clientHeight;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.font = "12px system-ui, sans-serif";
  return { pen, width, height };
}
