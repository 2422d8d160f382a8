
// Amounts and rates as people read them.

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

function bytes(count) {
  let unit = 0;
  let value = Number(count) || 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${UNITS[unit]}`;
}

function rate(count) {
  return count > 0 ? `${bytes(count)}/s` : "";
}

function percent(have, all) {
  // Not all before all is there.
  return all > 0 ? Math.min(100, Math.floor((have * 100) / all)) : 0;
}

function seconds(value) {
  if (!Number.isFinite(value)) return "?";
  if (value < 10) return `${value.toFixed(1)} s`;
  if (value < 120) return `${Math.round(value)} s`;
  return value < 7200 ? `${Math.round(value / 60)} min` : `${(value / 3600).toFixed(1)} h`;
}

function plural(count, one, many) {
  return `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
}
