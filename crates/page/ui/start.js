
if (document.documentElement.dataset.program === "tracker") {
  startTracker();
} else {
  startDaemon();
}
