
// The stream of events. A browser comes back by itself where a connection is lost, and is told to where it was refused.

class Stream {
  constructor(path, handlers, state) {
    Object.assign(this, { path, handlers, state, source: null, again: null });
    this.open();
  }

  open() {
    this.source = new EventSource(this.path);
    this.source.addEventListener("open", () => this.state("", true));
    this.source.addEventListener("error", () => {
      if (this.source.readyState !== EventSource.CLOSED) {
        this.state("The connection is lost; trying again…", false);
        return;
      }
      this.state("It is refused: too many pages look on, or the token has changed. Trying again…", false);
      this.again = setTimeout(() => this.open(), 5000);
    });
    for (const [name, handle] of Object.entries(this.handlers)) {
      this.source.addEventListener(name, (event) => handle(JSON.parse(event.data)));
    }
  }

  close() {
    clearTimeout(this.again);
    this.source.close();
  }
}

function showState(text, good) {
  const state = el("state");
  say(state, good ? "Connected" : text);
  state.toggleAttribute("data-bad", !good);
}
