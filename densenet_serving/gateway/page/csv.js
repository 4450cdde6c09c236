// Writes answers as CSV (RFC 4180).

const COLUMNS = ["file", "class_id", "class_name", "probability", "recognized", "error"];
// A spreadsheet computes a cell that begins with one of these as a formula.
const FORMULA = /^[=+\-@\t\r]/;

/** A multi-label model's photo has a line for each class that is on it. */
export function toCsv(rows) {
  const each = rows.flatMap((row) => (row.predictions?.length ? row.predictions.map((one) => ({ ...row, ...one })) : [row]));
  const lines = each.map((row) => COLUMNS.map((column) => cell(row[column])).join(","));
  return [COLUMNS.join(","), ...lines, ""].join("\r\n");
}

function cell(value) {
  const text = typeof value === "string" && FORMULA.test(value) ? `'${value}` : String(value ?? "");
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
