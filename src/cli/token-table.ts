import type { TokenRow } from '../store/tokens.ts';

const heads = ['TOKEN_ID', 'NAME', 'SCOPE', 'QUEUE_PREFIX', 'STATE', 'CREATED', 'EXPIRES', 'LAST_USED'];

function instant(at: Date | null): string {
  return at === null ? '-' : at.toISOString().replace(/\.\d+/, '');
}

/** The list for people: columns in line, one token a line. */
export function tokenTable(tokens: readonly TokenRow[]): string[] {
  const rows = [
    heads,
    ...tokens.map((token) => [
      token.token_id,
      token.name,
      token.scope,
      token.queue_prefix === '' ? '-' : token.queue_prefix,
      token.state,
      instant(token.created_at),
      instant(token.expires_at),
      instant(token.last_used_at),
    ]),
  ];
  const widths = heads.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}
