
// The stream of events. A browser comes back by itself where a connection is lost, and is told to where it was refused.
//
// A page that is not seen, as in a tab behind another, has none: a browser has six connections for all tabs together.

class Stream {
  constructor(path, handlers, state) {
    Object.assign(this, { path, handlers, state, source: null, again: null });
    this.seen = () => this.look();
    document.addEventListener("visibilitychange", this.seen);
    this.look();
  }

  look() {
    if (document.hidden) this.stop();
    else if (this.source === null) this.open();
  }

  open() {
    this.source = new EventSource(this.path);
    this.source.addEventListener("open", () => this.state("", true));
    this.source.addEventListener("error", () => {
      if (this.source.readyState !== EventSource.CLOSED) {
        this.state("The connection is lost; trying again…", false);
        return;
      }
      this.state("It is refused: too many pages look on, or the token has changed. Trying again…", false, true);
      this.again = setTimeout(() => this.open(), 5000);
    });
    for (const [name, handle] of Object.entries(this.handlers)) {
      this.source.addEventListener(name, (event) => handle(JSON.parse(event.data)));
    }
  }

  stop() {
    clearTimeout(this.again);
    if (this.source !== null) this.source.close();
    this.source = null;
  }

  close() {
    document.removeEventListener("visibilitychange", this.seen);
    this.stop();
  }
}

function showState(text, good) {
  const state = el("state");
  say(state, good ? "Connected" : text);
  state.toggleAttribute("data-bad", !good);
}
