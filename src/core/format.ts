/** A duration in its largest two units: `45 s`, `3 min 20 s`, `2 h 05 min`; `–` if it is not finite. */
export function formatDuration(seconds: number): string {
  if (!Number.isFinite(seconds)) return '–';
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes} min ${String(whole % 60).padStart(2, '0')} s`;
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, '0')} min`;
}

// Made when it is first needed, because that loads the data of all languages, a tenth of what `pmpo --version` takes.
let integers: Intl.NumberFormat | undefined;

/** An integer with thousands separators: `100,000`. */
export function formatCount(value: number): string {
  integers ??= new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });
  return Number.isFinite(value) ? integers.format(value) : '–';
}

/** A number with about three significant digits: `812`, `4.21`, `0.0034`, `1.2e+9`; `–` for undefined and NaN. */
export function formatNumber(value: number | undefined): string {
  if (value === undefined || Number.isNaN(value)) return '–';
  if (!Number.isFinite(value)) return value > 0 ? '∞' : '−∞';
  const size = Math.abs(value);
  const text =
    size !== 0 && (size >= 1e6 || size < 1e-4)
      ? value.toExponential(1)
      : size >= 100
        ? formatCount(value)
        : String(Number(value.toPrecision(3)));
  return text.replace('-', '−');
}
