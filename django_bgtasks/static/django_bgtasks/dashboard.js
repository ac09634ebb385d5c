// The charts of the dashboard, drawn by uPlot from the numbers that the page holds. live.js
// brings newer ones, and they are drawn when the document says so; nothing is asked for
// here. Colours are those of dashboard.css, so that light and dark are settled there.
(() => {
  "use strict";

  const SYNC = "bgtasks";
  const HEIGHT = { throughput: 200, latency: 180, backlog: 180 };
  const OUTCOMES = ["successful", "retried", "failed", "cancelled"];
  // The hue of each, and how much of it.
  const LATENCIES = [
    ["wait_median", "wait", "ff"],
    ["wait_p95", "wait", "80"],
    ["run_median", "run", "ff"],
    ["run_p95", "run", "80"],
  ];

  // A line needs two points. One alone, as of the first minute ever, is shown as such.
  const POINTS = {
    size: 5,
    filter(plot, series, areShown) {
      if (areShown) return null;
      const values = plot.data[series];
      const isThere = (at) => values[at] != null;
      const all = values.map((_, at) => at);
      return all.filter((at) => isThere(at) && !isThere(at - 1) && !isThere(at + 1));
    },
  };

  let charts = [];
  let drawnFrom = null;
  // The step that is not over, if it is shown.
  let running = null;

  const numbers = () => document.getElementById("bgtasks-chart-data")?.textContent;
  const texts = () => document.getElementById("bgtasks-chart-texts").dataset;
  const language = document.documentElement.lang || undefined;

  function colour(name) {
    return getComputedStyle(document.body).getPropertyValue(name).trim();
  }

  // -- words

  function timeFormat(options) {
    try {
      return new Intl.DateTimeFormat(language, { ...options, timeZone: texts().zone });
    } catch {
      // The site's zone has a name that this browser does not know.
      return new Intl.DateTimeFormat(language, options);
    }
  }

  function inZone(seconds) {
    const moment = new Date(seconds * 1000);
    try {
      return uPlot.tzDate(moment, texts().zone);
    } catch {
      return moment;
    }
  }

  // As the page writes them, which may do without separators in this language.
  const written = (value, options) =>
    value.toLocaleString(language, { ...options, useGrouping: "grouped" in texts() });

  const count = (value) => (value == null ? "-" : written(value));

  function duration(seconds) {
    if (seconds == null) return "-";
    const words = texts();
    const units = [
      [86400, words.day],
      [3600, words.hour],
      [60, words.minute],
      [1, words.second],
      [0.001, words.millisecond],
    ];
    const [size, unit] = units.find(([size]) => seconds >= size) ?? units.at(-1);
    const digits = { maximumSignificantDigits: 3 };
    return `${written(seconds / size, digits)} ${unit}`;
  }

  // -- what charts share

  // Of a logarithmic scale, only powers of ten: the lines between them are too many.
  const powers = (_, splits) => splits.map((value) => (Math.log10(value) % 1 === 0 ? value : null));

  function axes(format, isLogarithmic) {
    const ink = colour("--body-quiet-color");
    const font = `12px ${getComputedStyle(document.body).fontFamily}`;
    const lines = { stroke: colour("--hairline-color"), width: 1 };
    const hours = timeFormat({ hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
    const days = timeFormat({ weekday: "short", day: "numeric" });
    const style = texts().days ? days : hours;
    return [
      {
        stroke: ink,
        font,
        grid: { show: false },
        ticks: lines,
        size: 30,
        space: 64,
        values: (_, splits) => splits.map((at) => style.format(at * 1000)),
        ...(texts().days && { incrs: [86400, 2 * 86400] }),
      },
      {
        stroke: ink,
        font,
        grid: isLogarithmic ? { ...lines, filter: powers } : lines,
        ...(isLogarithmic && { filter: powers }),
        ticks: { show: false },
        size: 56,
        space: 36,
        values: (_, splits) => splits.map((value) => (value == null ? "" : format(value))),
      },
    ];
  }

  function timeSeries() {
    const style = timeFormat({
      ...(texts().days && { weekday: "short" }),
      hour: "2-digit",
      minute: "2-digit",
      hourCycle: "h23",
    });
    return {
      label: texts().time,
      value(_, at) {
        if (at == null) return "";
        return at === running?.begin ? running.time : style.format(at * 1000);
      },
    };
  }

  function draw(name, series, data, scale, format) {
    const place = document.querySelector(`[data-chart="${name}"]`);
    const step = data[0][1] - data[0][0];
    const options = {
      width: Math.max(place.clientWidth, 200),
      height: HEIGHT[name],
      tzDate: inZone,
      padding: [10, 24, 0, 0],
      cursor: { drag: { x: false, y: false }, y: false, sync: { key: SYNC } },
      legend: { markers: { width: 0, fill: (_, n) => series[n - 1].stroke ?? series[n - 1].fill } },
      // Half a step more on each side, or the outermost bars would be cut.
      scales: { x: { range: (_, low, high) => [low - step / 2, high + step / 2] }, y: scale },
      axes: axes(format, scale.distr === 3),
      series: [timeSeries(), ...series],
    };
    place.replaceChildren();
    charts.push({ name, chart: new uPlot(options, data, place), place });
  }

  // -- each of them

  function upTo(least) {
    return { range: (_, low, high) => [0, Math.max(least, (high ?? 0) * 1.1)] };
  }

  function drawThroughput(data) {
    const { bars } = uPlot.paths;
    const stacked = OUTCOMES.map((_, n) =>
      data.begin.map((_, at) => OUTCOMES.slice(0, n + 1).reduce((sum, o) => sum + data[o][at], 0)),
    );
    const series = OUTCOMES.map((outcome) => ({
      label: texts()[outcome],
      fill: colour(`--bgtasks-${outcome}`),
      width: 0,
      paths: bars({ size: [0.8, 40], radius: 0.1 }),
      points: { show: false },
      value: (_u, _v, _s, at) => (at == null ? "" : count(data[outcome][at])),
    }));
    // The whole first, so that what is drawn over it leaves its share in sight.
    draw("throughput", series.reverse(), [data.begin, ...stacked.reverse()], upTo(4), count);
  }

  function drawLatency(data) {
    const series = LATENCIES.map(([name, hue, opacity]) => ({
      label: texts()[name],
      stroke: colour(`--bgtasks-${hue}`) + opacity,
      width: 2,
      points: POINTS,
      value: (_u, value, _s, at) => (at == null ? "" : duration(value)),
    }));
    const columns = LATENCIES.map(([name]) => data[name].map((value) => value && Math.max(value, 1e-6)));
    const scale = {
      distr: 3,
      range: (_, low, high) => [10 ** Math.floor(Math.log10(low || 0.001)), 10 ** Math.ceil(Math.log10(high || 1))],
    };
    draw("latency", series, [data.begin, ...columns], scale, duration);
  }

  function drawBacklog(data) {
    const hue = colour("--bgtasks-waiting");
    const series = {
      label: texts().waiting,
      stroke: hue,
      fill: `${hue}22`,
      width: 2,
      points: POINTS,
      value: (_u, value, _s, at) => (at == null ? "" : count(value)),
    };
    draw("backlog", [series], [data.begin, data.waiting], upTo(4), count);
  }

  function drawAll() {
    for (const { chart } of charts) chart.destroy();
    charts = [];
    drawnFrom = numbers();
    const data = JSON.parse(drawnFrom);
    running = data.running;
    drawThroughput(data);
    drawLatency(data);
    drawBacklog(data);
    for (const { name, place } of charts) place.setAttribute("aria-label", data.labels[name]);
  }

  // Nobody sees a chart in a hidden tab, and who points at one wants to read it.
  function drawIfNew() {
    const isRead = charts.some(({ place }) => place.matches(":hover"));
    if (document.hidden || isRead || numbers() === drawnFrom) return;
    drawAll();
  }

  function fit() {
    for (const { name, chart, place } of charts) {
      const width = place.clientWidth;
      if (width && width !== chart.width) chart.setSize({ width, height: HEIGHT[name] });
    }
  }

  function begin() {
    if (!numbers()) return;
    drawAll();
    document.addEventListener("bgtasks:refreshed", drawIfNew);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
    new MutationObserver(drawAll).observe(document.documentElement, { attributeFilter: ["data-theme"] });
    const observer = new ResizeObserver(fit);
    for (const { place } of charts) observer.observe(place);
    const queue = document.getElementById("bgtasks-queue");
    queue.addEventListener("change", () => queue.form.requestSubmit());
    queue.form.querySelector("button").hidden = true;
  }

  document.addEventListener("DOMContentLoaded", begin);
})();
