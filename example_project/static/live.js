// Keeps the job badges of a page up to date. Without it a reload shows the same.
(() => {
  "use strict";

  const POLL_EVERY_MS = 1000;
  const RETRY_AFTER_MS = 5000;
  const IDS_PER_REQUEST = 50;
  const statusUrl = document.currentScript.dataset.statusUrl;

  function unfinishedBadges() {
    return [...document.querySelectorAll("[data-job]:not([data-finished])")];
  }

  async function fetchStatuses(badges) {
    const ids = new Set(badges.map((badge) => badge.dataset.job));
    const query = [...ids].slice(0, IDS_PER_REQUEST).map((id) => ["id", id]);
    const response = await fetch(`${statusUrl}?${new URLSearchParams(query)}`);
    if (!response.ok) throw new Error(`status ${response.status}`);
    return (await response.json()).jobs;
  }

  function hasChanged(badge, jobs) {
    const job = jobs[badge.dataset.job];
    return job && badge.dataset.state !== `${job.status}/${job.attempt}`;
  }

  function showProgress(id, progress) {
    const box = document.querySelector(`[data-progress="${id}"]`);
    if (!box || !progress) return;
    const bar = box.querySelector("progress");
    if (progress.total) {
      bar.max = progress.total;
      bar.value = progress.done;
    }
    box.querySelector("[data-message]").textContent = progress.message;
    box.hidden = false;
  }

  // The server renders every state already, so a change of state is shown by taking
  // the live parts of the page from it again.
  async function refreshLiveParts() {
    const response = await fetch(location.href);
    if (!response.ok) throw new Error(`status ${response.status}`);
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    for (const part of document.querySelectorAll("[data-live]")) {
      const replacement = fresh.getElementById(part.id);
      if (replacement) part.replaceWith(document.importNode(replacement, true));
    }
  }

  async function update(badges) {
    const jobs = await fetchStatuses(badges);
    if (badges.some((badge) => hasChanged(badge, jobs))) await refreshLiveParts();
    for (const [id, job] of Object.entries(jobs)) showProgress(id, job.progress);
  }

  async function poll() {
    const badges = unfinishedBadges();
    if (badges.length === 0) return;
    let wait = POLL_EVERY_MS;
    try {
      if (!document.hidden) await update(badges);
    } catch {
      wait = RETRY_AFTER_MS;
    }
    setTimeout(poll, wait);
  }

  poll();
})();
