/* Shows the next runs of a schedule, or what is wrong with it, as somebody types. */
"use strict";

document.addEventListener("DOMContentLoaded", () => {
    const section = document.querySelector(".bgtasks-upcoming[data-url]");
    if (section) {
        watch(section, section.closest("form"));
    }
});

function watch(section, form) {
    const PAUSE = 250; // ms in which nothing was typed
    const KINDS = ["cron", "every", "at_0", "at_1"];
    const NAMES = [
        ...KINDS, "phase", "timezone", "start_0", "start_1", "end_0", "end_1"
    ].filter(name => form.elements[name]); // a project's own form may have fewer
    const summary = section.querySelector(".bgtasks-summary");
    const list = section.querySelector("ol");
    let asked = null;
    let timer;
    let request;

    function valueOf(name) {
        return form.elements[name]?.value.trim();
    }

    function typed() {
        const query = String(new URLSearchParams(NAMES.map(n => [n, valueOf(n)])));
        if (query === asked) {
            return;
        }
        asked = query;
        clearTimeout(timer);
        timer = setTimeout(ask, PAUSE, query);
    }

    async function ask(query) {
        request?.abort();
        request = new AbortController();
        if (!KINDS.some(valueOf)) {
            show({summary: section.dataset.hint});
            return;
        }
        const {signal} = request;
        try {
            const response = await fetch(`${section.dataset.url}?${query}`, {signal});
            const answer = await response.json();
            if (!signal.aborted) {
                show(answer);
            }
        } catch {
            if (!signal.aborted) {
                asked = null; // the same may be asked again
                show({summary: section.dataset.unknown});
            }
        }
    }

    function show({error, summary: text, runs = []}) {
        const message = error ? error.message : text;
        // What stays the same is not read out again.
        if (summary.textContent !== message) {
            summary.textContent = message;
        }
        summary.classList.toggle("bgtasks-error", Boolean(error));
        list.replaceChildren(...runs.map(asItem));
        for (const name of NAMES) {
            const field = form.elements[name];
            field.setAttribute("aria-invalid", name.replace(/_[01]$/, "") === error?.field);
            field.setAttribute("aria-errormessage", summary.id);
        }
    }

    function asItem(run) {
        const item = document.createElement("li");
        const time = document.createElement("time");
        time.dateTime = run.datetime;
        time.textContent = run.time;
        item.append(time);
        for (const note of run.notes) {
            const mark = document.createElement("span");
            mark.className = "bgtasks-mark";
            mark.textContent = note;
            item.append(" ", mark);
        }
        return item;
    }

    form.addEventListener("input", typed);
    form.addEventListener("change", typed);
    // The admin's calendar and clock fill a field in without a word, then focus it.
    form.addEventListener("focusin", typed);
    typed();
}
