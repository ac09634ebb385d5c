// Keeps the blocks of {% job_status %} up to date, also those that come into the page
// later. Without it, a reload shows the same.
//
// A block with data-bgtasks-poll is asked for again and again; one that has
// data-bgtasks-events, too, listens to the server instead. Nothing happens while the tab
// is hidden, nor once a job has ended; then the block sends an event that bubbles,
// bgtasks:finished, with detail {id, status}. The status of a job whose row is no more is
// "GONE".
(() => {
  "use strict";

  const PAUSE = 1000;
  const LONGEST_PAUSE = 60_000;
  const LIVE = "[data-bgtasks-poll]";
  // What goes on for each block: {failures, timer, source}.
  const watches = new Map();

  // -- what is shown

  function write(block, name, text) {
    const part = block.querySelector(`.bgtasks-status-${name}`);
    // Text that is written anew is read out anew.
    if (part && part.textContent !== text) part.textContent = text;
  }

  function paint(block, status) {
    const others = [...block.classList].filter((name) => !name.startsWith("bgtasks-status-"));
    block.className = [...others, `bgtasks-status-${status.toLowerCase()}`].join(" ");
  }

  function move(bar, job) {
    if (!bar) return;
    if (job.percent !== null) bar.value = job.percent;
    else if (job.status === "RUNNING") bar.removeAttribute("value");
    else bar.value = 0;
  }

  function show(block, job) {
    paint(block, job.status);
    write(block, "word", job.status_label);
    write(block, "message", job.progress?.message ?? "");
    write(block, "left", job.time_left || job.attempt_label);
    write(block, "result", job.result ?? "");
    move(block.querySelector("progress"), job);
    if (job.finished) finish(block, job.status);
  }

  function showGone(block) {
    const text = block.dataset.bgtasksGone;
    paint(block, "GONE");
    write(block, "word", text);
    write(block, "message", "");
    write(block, "left", "");
    block.querySelector("progress")?.remove();
    finish(block, "GONE");
  }

  function finish(block, status) {
    stop(block);
    const detail = { id: block.dataset.bgtasksJob, status };
    block.dispatchEvent(new CustomEvent("bgtasks:finished", { bubbles: true, detail }));
  }

  // -- asking

  async function ask(block) {
    const headers = { Accept: "application/json" };
    const response = await fetch(block.dataset.bgtasksPoll, { credentials: "same-origin", headers });
    if (response.status === 404) return showGone(block);
    // Somebody else has logged in, or nobody is any more.
    if (response.status === 403) return stop(block);
    if (!response.ok) throw new Error(`status ${response.status}`);
    return show(block, await response.json());
  }

  async function poll(block) {
    const watch = watches.get(block);
    watch.timer = null;
    try {
      await ask(block);
      watch.failures = 0;
    } catch {
      watch.failures += 1;
    }
    wait(block);
  }

  function wait(block, soonest = PAUSE) {
    const watch = watches.get(block);
    if (!watch || watch.timer !== null || document.hidden) return;
    const pause = Math.min(soonest * 2 ** watch.failures, LONGEST_PAUSE);
    watch.timer = setTimeout(poll, pause, block);
  }

  // -- listening

  function listen(block) {
    const watch = watches.get(block);
    const source = new EventSource(block.dataset.bgtasksEvents);
    watch.source = source;
    source.addEventListener("message", (event) => show(block, JSON.parse(event.data)));
    source.addEventListener("gone", () => showGone(block));
    source.addEventListener("error", () => {
      // It connects again by itself, unless the server has refused. Asking tells why.
      if (source.readyState !== EventSource.CLOSED || watch.source !== source) return;
      watch.source = null;
      wait(block);
    });
  }

  // -- beginning and ending

  function follow(block) {
    if (block.dataset.bgtasksEvents) listen(block);
    else wait(block);
  }

  function rest(watch) {
    clearTimeout(watch.timer);
    watch.source?.close();
    watch.timer = watch.source = null;
  }

  function leave(block) {
    const watch = watches.get(block);
    if (watch) rest(watch);
    watches.delete(block);
  }

  function stop(block) {
    leave(block);
    block.removeAttribute("data-bgtasks-poll");
    block.removeAttribute("data-bgtasks-events");
  }

  function look() {
    for (const block of watches.keys()) if (!block.isConnected) leave(block);
    for (const block of document.querySelectorAll(LIVE)) {
      if (watches.has(block)) continue;
      watches.set(block, { failures: 0, timer: null, source: null });
      if (!document.hidden) follow(block);
    }
  }

  document.addEventListener("visibilitychange", () => {
    for (const [block, watch] of watches) {
      rest(watch);
      if (!document.hidden) follow(block);
    }
  });
  look();
  new MutationObserver(look).observe(document.documentElement, { childList: true, subtree: true });
})();
