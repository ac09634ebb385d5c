// Takes the parts of a page with data-live anew from the server: when a job on the page
// has ended, and every so many seconds if the part says so (data-live="2"). The blocks of
// jobs need none of this, they follow their jobs by themselves.
(() => {
  "use strict";

  let timer = null;

  const liveParts = () => [...document.querySelectorAll("[data-live]")];

  async function refresh() {
    const response = await fetch(location.href);
    if (!response.ok) throw new Error(`status ${response.status}`);
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    for (const part of liveParts()) {
      const replacement = fresh.getElementById(part.id);
      if (!replacement || replacement.outerHTML === part.outerHTML) continue;
      part.replaceWith(document.importNode(replacement, true));
    }
  }

  function wait() {
    const pauses = liveParts().map((part) => Number(part.dataset.live)).filter(Boolean);
    clearTimeout(timer);
    if (pauses.length && !document.hidden) timer = setTimeout(look, Math.min(...pauses) * 1000);
  }

  async function look() {
    // A server that is away is asked again.
    await refresh().catch(() => {});
    wait();
  }

  document.addEventListener("bgtasks:finished", look);
  document.addEventListener("visibilitychange", wait);
  wait();
})();
