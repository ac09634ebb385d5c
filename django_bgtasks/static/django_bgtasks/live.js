// Keeps parts of a page fresh: those with an id and data-bgtasks-live, whose value is the
// seconds between two looks. The page itself is asked for again, and what is in these
// parts is put in their place. Without JavaScript, a reload shows the same.
//
// Nothing is asked for while the tab is hidden, or when no part is live any more. After
// each look that has changed something, the document gets an event, bgtasks:refreshed.
(() => {
  "use strict";

  const LONGEST_PAUSE = 60;
  // Each part as the server wrote it: whoever unfolds something changes it, too.
  const written = new WeakMap();
  let failures = 0;
  let timer = null;

  const liveParts = () => [...document.querySelectorAll("[id][data-bgtasks-live]")];

  function pause() {
    const seconds = liveParts().map((part) => Number(part.dataset.bgtasksLive) || 5);
    return Math.min(Math.min(...seconds) * 2 ** failures, LONGEST_PAUSE);
  }

  // Who reads, selects or types in a part keeps it as it is until the next look.
  function isInUse(part) {
    const selection = document.getSelection();
    if (selection && !selection.isCollapsed && selection.containsNode(part, true)) return true;
    const focused = document.activeElement;
    return part.contains(focused) && focused.matches("input, select, textarea");
  }

  // What a control is in an answer, too: most links in tables have no id.
  function keyOf(element) {
    if (element.id) return element.id;
    const says = ["href", "name", "value"].map((name) => element.getAttribute(name));
    return JSON.stringify([element.tagName, element.parentElement.id, ...says]);
  }

  const alike = (part, key) => [...part.querySelectorAll("*")].filter((e) => keyOf(e) === key);

  function remember(part) {
    const scrolled = [...part.querySelectorAll("[id]")].map((e) => [e.id, e.scrollLeft, e.scrollTop]);
    const opened = [...part.querySelectorAll("details[id]")].map((e) => [e.id, e.open]);
    const element = document.activeElement;
    if (!part.contains(element) || element === part) return { scrolled, opened };
    const key = keyOf(element);
    return { scrolled, opened, focused: { key, nth: alike(part, key).indexOf(element) } };
  }

  function restore(part, { scrolled, opened, focused }) {
    for (const [id, open] of opened) {
      const details = document.getElementById(id);
      if (details) details.open = open;
    }
    for (const [id, left, top] of scrolled) {
      const element = document.getElementById(id);
      if (element) Object.assign(element, { scrollLeft: left, scrollTop: top });
    }
    if (focused) alike(part, focused.key)[focused.nth]?.focus({ preventScroll: true });
  }

  function replace(part, fresh) {
    if (fresh === null) {
      delete part.dataset.bgtasksLive;
      return false;
    }
    if (written.get(part) === fresh.outerHTML || isInUse(part)) return false;
    const state = remember(part);
    const adopted = document.importNode(fresh, true);
    written.set(adopted, fresh.outerHTML);
    part.replaceWith(adopted);
    restore(adopted, state);
    return true;
  }

  async function look() {
    const response = await fetch(location.href, { credentials: "same-origin" });
    // Somebody who is logged out is sent elsewhere, and a job may be deleted meanwhile.
    if (!response.ok || response.redirected) throw new Error(`status ${response.status}`);
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const changed = liveParts().filter((part) => replace(part, page.getElementById(part.id)));
    if (changed.length) document.dispatchEvent(new CustomEvent("bgtasks:refreshed"));
  }

  async function refresh() {
    timer = null;
    try {
      await look();
      failures = 0;
    } catch {
      failures += 1;
    }
    // So that nobody takes old figures for new ones.
    document.documentElement.classList.toggle("bgtasks-stale", failures > 1);
    wait();
  }

  function wait(seconds = pause()) {
    clearTimeout(timer);
    timer = null;
    if (!document.hidden && liveParts().length) timer = setTimeout(refresh, seconds * 1000);
  }

  function begin() {
    for (const part of liveParts()) written.set(part, part.outerHTML);
    wait();
  }

  document.addEventListener("visibilitychange", () => wait(0));
  document.addEventListener("DOMContentLoaded", begin);
  if (document.readyState !== "loading") begin();
})();
