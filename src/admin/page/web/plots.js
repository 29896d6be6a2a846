// Plots over time. Series differ by colour, by dashes and by the words of the legend.

import { short } from "./parts.js";

const DASHES = [[], [7, 4], [2, 3], [9, 3, 2, 3], [14, 5], [5, 2]];
// The same in letters, for the legend: colours alone tell nobody apart who cannot see them.
const SIGNS = ["━━", "╺╸╺╸", "····", "━·━·", "━ ━", "╍╍"];
/** Where six are not enough, colours and dashes meet in other pairs. */
const dash = (at) => (at + Math.floor(at / 6)) % 6;
/** Distances of ticks that are round in bytes. */
export const BYTE_STEPS = Array.from({ length: 44 }, (_, power) => 2 ** power);
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const all = new Set();

/** One plot in an element; series may change with each call of `show`. */
export class Plot {
  constructor(element, { height = 150, legend = false, stepped = true, format = short, steps } = {}) {
    Object.assign(this, { element, height, legend, stepped, format, steps, labels: null, data: null, span: null });
    element.setAttribute("role", "img");
    all.add(this);
    new ResizeObserver(() => this.resize()).observe(element);
  }

  /** `times` in Unix seconds; `series` as `[label, values]`; `span` as the first and last second shown. */
  show(times, series, span, description) {
    const labels = series.map(([label]) => label).join("\n");
    this.data = [times, ...series.map(([, values]) => values)];
    this.span = span;
    this.series = series.map(([label]) => label);
    this.element.setAttribute("aria-label", description);
    if (this.plot && labels === this.labels) {
      this.plot.setData(this.data, false);
      this.plot.batch(() => this.rescale());
    } else {
      this.labels = labels;
      this.build();
      return;
    }
    this.last();
  }

  /** Without a pointer over the plot, the legend has the latest values. */
  last() {
    // uPlot clears the legend with the changes it still has to make, in the same turn.
    if (this.legend) requestAnimationFrame(() => {
      if (this.plot && !(this.plot.cursor.left >= 0)) this.plot.setLegend({ idx: this.data[0].length - 1 });
    });
  }

  rescale() {
    this.plot.setScale("x", { min: this.span[0], max: this.span[1] });
  }

  build() {
    if (!this.data) return;
    this.plot?.destroy();
    const width = Math.max(120, this.element.clientWidth);
    const axis = { stroke: css("--quiet"), grid: { stroke: css("--grid"), width: 1 }, ticks: { stroke: css("--grid") } };
    const paths = this.stepped ? uPlot.paths.stepped({ align: -1 }) : undefined;
    const lines = this.series.map((label, at) => ({
      label: this.legend && this.series.length > 1 ? `${SIGNS[dash(at)]} ${label}` : label,
      stroke: css(`--plot-${(at % 6) + 1}`),
      dash: DASHES[dash(at)],
      width: 1.5,
      paths,
      points: { show: false },
      value: (_, value) => (value == null ? "–" : this.format(value)),
    }));
    this.plot = new uPlot({
      width,
      height: this.height,
      legend: { show: this.legend },
      cursor: { y: false, drag: { x: false, y: false } },
      scales: {
        x: { time: true, auto: false, range: () => this.span },
        y: { range: (_, low, high) => [Math.min(0, low ?? 0), high > 0 ? high * 1.08 : low < 0 ? 0 : 1] },
      },
      axes: [
        { ...axis, size: 34, space: 70, values: "{HH}:{mm}:{ss}" },
        { ...axis, size: 74, ...(this.steps && { incrs: this.steps }), values: (_, ticks) => ticks.map((tick) => this.format(tick)) },
      ],
      series: [{ label: "time", value: "{HH}:{mm}:{ss}" }, ...lines],
    }, this.data, this.element);
    this.last();
  }

  resize() {
    const width = this.element.clientWidth;
    if (this.plot && width > 0 && Math.abs(width - this.plot.width) > 1) {
      this.plot.setSize({ width, height: this.height });
    }
  }

  clear() {
    this.plot?.destroy();
    this.plot = null;
    this.data = null;
    this.labels = null;
  }
}

// Colours are read when a plot is built.
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => all.forEach((plot) => plot.build()));
