
// A table of any length, of which only the rows that are seen are there: a grid that is used by keyboard as by mouse.

const ROW = 32;
const BEYOND = 4;

class Table {
  // Columns have a title, a text of a row, a value to sort by, a width, and what they are: text, number, bar or wide.
  constructor(box, label, columns, chosen) {
    Object.assign(this, { columns, chosen, rows: new Map(), view: [], order: null, sorting: null, filter: null });
    this.current = null;
    this.selected = null;
    this.isDue = false;
    const grid = make("div", "table");
    grid.setAttribute("role", "grid");
    grid.setAttribute("aria-label", label);
    grid.tabIndex = 0;
    grid.style.setProperty("--columns", columns.map((column) => column.width).join(" "));
    const narrow = columns.filter((column) => !column.wide).map((column) => column.width);
    grid.style.setProperty("--narrow", narrow.join(" "));
    const head = make("div", "row head");
    head.setAttribute("role", "row");
    head.setAttribute("aria-rowindex", "1");
    this.heads = columns.map((column, at) => {
      const kind = column.kind === "bar" ? "" : column.kind;
      const cell = make("div", `cell ${kind} ${column.wide ? "wide" : ""}`);
      cell.setAttribute("role", "columnheader");
      const button = make("button", "", column.title);
      button.addEventListener("click", () => this.sort(at));
      cell.append(button);
      head.append(cell);
      return cell;
    });
    this.scroll = make("div", "scroll");
    this.scroll.setAttribute("role", "rowgroup");
    this.space = make("div");
    this.space.setAttribute("role", "presentation");
    this.scroll.append(this.space);
    this.pool = [];
    grid.append(head, this.scroll);
    box.append(grid);
    this.grid = grid;
    this.id = box.id;
    this.scroll.addEventListener("scroll", () => this.draw(), { passive: true });
    grid.addEventListener("keydown", (event) => {
      // The buttons of its head have keys of their own.
      if (event.target === grid) this.key(event);
    });
    this.scroll.addEventListener("click", (event) => {
      const row = event.target.closest(".row");
      if (row) this.choose(row.dataset.key);
    });
    window.addEventListener("resize", () => this.draw());
  }

  set(key, row) {
    this.rows.set(String(key), row);
    this.later();
  }

  remove(key) {
    this.rows.delete(String(key));
    this.later();
  }

  clear() {
    this.rows.clear();
    this.later();
  }

  // Keys in the order of the program.
  arrange(keys) {
    this.order = new Map(keys.map((key, at) => [String(key), at]));
    this.later();
  }

  show(filter) {
    this.filter = filter;
    this.later();
  }

  sort(at) {
    const is = this.sorting;
    if (!is || is.at !== at) this.sorting = { at, down: this.columns[at].kind !== "text" };
    else if (is.down === (this.columns[at].kind !== "text")) this.sorting = { at, down: !is.down };
    else this.sorting = null;
    this.heads.forEach((head, of) => {
      const way = this.sorting && this.sorting.at === of ? (this.sorting.down ? "descending" : "ascending") : "none";
      head.setAttribute("aria-sort", way);
      const sign = { none: "", ascending: " ↑", descending: " ↓" }[way];
      head.firstChild.textContent = this.columns[of].title + sign;
    });
    this.later();
  }

  // However much changes at once, the table is made anew once.
  later() {
    if (this.isDue) return;
    this.isDue = true;
    requestAnimationFrame(() => this.draw());
  }

  // Scrolling and keys before the next frame go by the rows as they are now.
  catchUp() {
    if (!this.isDue) return;
    this.isDue = false;
    this.make();
  }

  make() {
    let keys = [...this.rows.keys()];
    if (this.filter) keys = keys.filter((key) => this.filter(this.rows.get(key)));
    const { sorting, order } = this;
    if (sorting) {
      const by = this.columns[sorting.at].by;
      const sign = sorting.down ? -1 : 1;
      const values = new Map(keys.map((key) => [key, by(this.rows.get(key))]));
      keys.sort((one, other) => {
        const [a, b] = [values.get(one), values.get(other)];
        return a === b ? (one < other ? -1 : 1) : sign * (a < b ? -1 : 1);
      });
    } else if (order) {
      keys.sort((one, other) => (order.get(one) ?? Infinity) - (order.get(other) ?? Infinity) || (one < other ? -1 : 1));
    }
    this.view = keys;
    this.space.style.height = `${keys.length * ROW}px`;
    this.grid.setAttribute("aria-rowcount", String(keys.length + 1));
  }

  draw() {
    this.catchUp();
    const first = Math.max(0, Math.floor(this.scroll.scrollTop / ROW) - BEYOND);
    const seen = Math.ceil(this.scroll.clientHeight / ROW) + 2 * BEYOND;
    const last = Math.min(this.view.length, first + seen);
    while (this.pool.length < last - first) this.pool.push(this.element());
    this.pool.forEach((row, at) => {
      const place = first + at;
      row.element.hidden = place >= last;
      if (place < last) this.fill(row, place);
    });
    const active = this.pool.find((row) => !row.element.hidden && row.element.dataset.key === this.current);
    if (active) this.grid.setAttribute("aria-activedescendant", active.element.id);
    else this.grid.removeAttribute("aria-activedescendant");
  }

  element() {
    const element = make("div", "row");
    element.setAttribute("role", "row");
    element.id = `${this.id}-${this.pool.length}`;
    const cells = this.columns.map((column) => {
      const cell = make("div", `cell ${column.kind} ${column.wide ? "wide" : ""}`);
      cell.setAttribute("role", "gridcell");
      if (column.kind === "bar") {
        cell.append(make("i"), make("span"));
      }
      element.append(cell);
      return cell;
    });
    this.scroll.append(element);
    return { element, cells };
  }

  fill({ element, cells }, place) {
    const key = this.view[place];
    const row = this.rows.get(key);
    element.dataset.key = key;
    element.style.transform = `translateY(${place * ROW}px)`;
    element.setAttribute("aria-rowindex", String(place + 2));
    element.setAttribute("aria-selected", String(key === this.selected));
    element.classList.toggle("active", key === this.current);
    this.columns.forEach((column, at) => {
      const text = column.text(row);
      if (column.kind === "bar") {
        cells[at].firstChild.style.width = `${column.by(row)}%`;
        say(cells[at].lastChild, text);
      } else {
        say(cells[at], text);
        cells[at].title = text.length > 24 ? text : "";
      }
    });
  }

  key(event) {
    this.catchUp();
    const at = this.view.indexOf(this.current);
    const page = Math.max(1, Math.floor(this.scroll.clientHeight / ROW) - 1);
    const moves = { ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + page, PageUp: at - page, Home: 0, End: Infinity };
    if (event.key in moves) {
      const to = Math.min(this.view.length - 1, Math.max(0, moves[event.key]));
      this.current = this.view[to] ?? null;
      const top = to * ROW;
      if (top < this.scroll.scrollTop) this.scroll.scrollTop = top;
      const bottom = top + ROW - this.scroll.clientHeight;
      if (bottom > this.scroll.scrollTop) this.scroll.scrollTop = bottom;
      this.draw();
    } else if ((event.key === "Enter" || event.key === " ") && this.current !== null) {
      this.choose(this.current);
    } else {
      return;
    }
    event.preventDefault();
  }

  choose(key) {
    this.current = key;
    if (!this.chosen) {
      this.draw();
      return;
    }
    this.selected = key;
    this.draw();
    this.chosen(key, this.rows.get(key));
  }
}
