import type { GoalReport, Ratios } from './ratios.ts';
import type { Result } from './results.ts';

/** For a person: a block for each measure, then every ratio beside its goal. */
export function formatReport(
  results: readonly Result[],
  ratios: Ratios,
  goals: Readonly<Record<string, GoalReport | undefined>>,
): string {
  const measured = results.map(({ measure, contender, unit, median, min, max, runs }) => [
    measure,
    contender,
    `${median}`,
    unit,
    runs > 1 ? `${min} .. ${max}` : '',
    `${runs}`,
  ]);
  const compared = Object.entries(ratios).map(([name, value]) => {
    const { goal = '', reached = null } = goals[name] ?? {};
    return [
      name,
      value === null ? 'not shown' : `${value}`,
      goal,
      reached === null ? '' : reached ? 'reached' : 'missed',
    ];
  });
  return [
    ...aligned([['measure', 'contender', 'median', 'unit', 'min .. max', 'runs'], ...measured]),
    '',
    ...aligned([['ratio', 'value', 'goal', ''], ...compared]),
  ].join('\n');
}

function aligned(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}
