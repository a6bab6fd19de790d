// A uPlot chart as a component: size from its box, colours from the page, a text for those who do not see it.

import { html, useEffect, useLayoutEffect, useRef } from "./vendor/htm-preact.js";
import { clock } from "./format.js";
import { growth } from "./letter_size.js";

/** @param {string} name @returns {string} */
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** One list for all charts without lines: another one each time would be another drawing each time.
 * @type {any[]} */
const NO_LINES = [];

const HEIGHT_PX = 170;

/** @param {{label: string, data: (number | null)[][], series: {label: string, colour: string, width?: number,
 *   dash?: number[], points?: boolean}[], band?: [number, number], unit: string, lines?: {y: number, label: string,
 *   colour: string}[], height?: number, theme: string, marker?: number | null}} props */
export function Chart({ label, data, series, band, unit, lines = NO_LINES, height = HEIGHT_PX, theme, marker = null }) {
  const box = useRef(/** @type {HTMLDivElement | null} */ (null));
  const plot = useRef(/** @type {any} */ (null));
  const extra = useRef({ lines, marker });
  extra.current = { lines, marker };

  useEffect(() => {
    const element = /** @type {HTMLDivElement} */ (box.current);
    const by = growth();
    // Read once: a question for a style in the middle of a drawing makes the browser compute all styles before it.
    const lineColours = new Map();
    const colourOf = (/** @type {string} */ name) => {
      if (!lineColours.has(name)) lineColours.set(name, colour(name));
      return lineColours.get(name);
    };
    const tall = Math.round(height * by);
    const axis = {
      stroke: colour("muted"), grid: { stroke: colour("grid"), width: 1 }, ticks: { show: false },
      font: `${11 * by}px system-ui, sans-serif`,
    };
    const options = {
      width: Math.max(200, element.clientWidth), height: tall, cursor: { y: false, points: { size: 6 } },
      legend: { live: true }, scales: { x: { time: true }, y: { range: rangeFor(extra) } },
      axes: [{ ...axis, size: 26 * by, space: 70 * by, values: (/** @type {any} */ _, /** @type {number[]} */ ticks) => ticks.map((tick) => clock(tick * 1000).slice(0, ticks.length > 1 && ticks[1] - ticks[0] < 60 ? 8 : 5)) }, { ...axis, size: 44 * by, values: (/** @type {any} */ _, /** @type {number[]} */ ticks) => ticks.map((tick) => `${+tick.toFixed(1)}`) }],
      series: [
        { label: "time", value: (/** @type {any} */ _, /** @type {number | null} */ at) => (at === null ? "–" : clock(at * 1000)) },
        ...series.map((one) => ({
          label: one.label, stroke: colour(one.colour), width: one.width ?? 2, dash: one.dash, spanGaps: false,
          points: { show: one.points ?? false, size: 5 },
          value: (/** @type {any} */ _, /** @type {number | null} */ value) => (value === null || value === undefined ? "–" : `${value.toFixed(1)} ${unit}`),
        })),
      ],
      bands: band ? [{ series: band, fill: `color-mix(in srgb, ${colour("accent")} 16%, transparent)` }] : [],
      hooks: { draw: [(/** @type {any} */ chart) => drawLines(chart, extra.current, by, colourOf)] },
    };
    const chart = new window.uPlot(options, data, element);
    plot.current = chart;
    const watch = new ResizeObserver(() => chart.setSize({ width: Math.max(200, element.clientWidth), height: tall }));
    watch.observe(element);
    return () => {
      watch.disconnect();
      chart.destroy();
      plot.current = null;
    };
  }, [theme, series.length]);

  // With the layout, so that both are one drawing, in the frame that shows the rest of the panel.
  useLayoutEffect(() => {
    plot.current?.setData(data);
  }, [data]);
  useLayoutEffect(() => {
    plot.current?.redraw(false);
  }, [marker, JSON.stringify(lines)]);

  return html`<figure class="chart" aria-label=${label} role="img"><div ref=${box}></div></figure>`;
}

/** The range of the values and of the lines that are drawn across. @param {{current: any}} extra */
function rangeFor(extra) {
  return (/** @type {any} */ _, /** @type {number | null} */ low, /** @type {number | null} */ high) => {
    const marks = extra.current.lines.map((/** @type {any} */ line) => line.y);
    const least = Math.max(0, Math.min(low ?? 0, ...marks) - 2);
    const most = Math.max(high ?? 1, ...marks, least + 1);
    return [least < most / 3 ? 0 : least, most + (most - least) * 0.12];
  };
}

/** @param {any} chart @param {{lines: any[], marker: number | null}} extra @param {number} by how much letters are larger
 * @param {(name: string) => string} colourOf */
function drawLines(chart, { lines, marker }, by, colourOf) {
  const { ctx: c, bbox } = chart;
  const ratio = window.devicePixelRatio || 1;
  c.save();
  c.font = `${11 * ratio * by}px system-ui, sans-serif`;
  c.lineWidth = 1.5 * ratio;
  for (const line of lines) {
    const y = chart.valToPos(line.y, "y", true);
    c.strokeStyle = c.fillStyle = colourOf(line.colour);
    c.setLineDash([6 * ratio, 4 * ratio]);
    c.beginPath();
    c.moveTo(bbox.left, y);
    c.lineTo(bbox.left + bbox.width, y);
    c.stroke();
    c.textAlign = "right";
    // The axes leave another one behind, by which the line went through its own name.
    c.textBaseline = "alphabetic";
    c.fillText(line.label, bbox.left + bbox.width - 2 * ratio, y - 4 * ratio);
  }
  if (marker !== null) {
    const x = chart.valToPos(marker, "x", true);
    if (x >= bbox.left && x <= bbox.left + bbox.width) {
      c.strokeStyle = colourOf("accent");
      c.setLineDash([]);
      c.beginPath();
      c.moveTo(x, bbox.top);
      c.lineTo(x, bbox.top + bbox.height);
      c.stroke();
    }
  }
  c.restore();
}
