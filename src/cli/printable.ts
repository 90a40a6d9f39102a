/** Texts of others for a terminal: what would move its cursor or change its colours shows as ?. Line breaks stay. */
export function printable(text: string): string {
  return text.replace(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/g, '?');
}

/** The first line, cut to fit a column. */
export function oneLine(text: string | null, charactersMax = 60): string {
  const [line = ''] = printable(text ?? '-').split('\n');
  return line.length > charactersMax ? `${line.slice(0, charactersMax - 1).toWellFormed()}…` : line;
}
