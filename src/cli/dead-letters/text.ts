import type { DeadLetter } from '../../protocol/dead-letters.ts';
import { oneLine, printable } from '../printable.ts';
import { table } from '../status/table.ts';

const heads = ['QUEUE', 'CLAIM_ID', 'REASON', 'ATTEMPTS', 'DIED', 'BLOCKS', 'ERROR'];

/** One dead letter a line. */
export function deadLettersTable(letters: readonly DeadLetter[]): string {
  if (letters.length === 0) return 'no dead letters';
  return table(
    heads,
    letters.map((letter) => [
      letter.queue,
      letter.claim_id,
      letter.reason,
      `${letter.attempts} of ${letter.max_attempts}`,
      letter.died_at,
      letter.blocks ? 'yes' : 'no',
      oneLine(letter.error),
    ]),
  );
}

/** All there is to say of one. */
export function deadLetterText(letter: DeadLetter): string {
  const labels = Object.entries(letter.labels).map(([key, value]) => `${key}=${value}`);
  const facts = table(
    [],
    [
      ['reason', letter.outcome === null ? letter.reason : `${letter.reason}, outcome ${letter.outcome}`],
      ['attempts', `${letter.attempts} of ${letter.max_attempts}`],
      ['holder', letter.holder === '' ? '-' : letter.holder],
      ['priority', `${letter.priority}`],
      ['labels', labels.length === 0 ? '-' : printable(labels.join(', ')).replaceAll('\n', '?')],
      ['enqueued', letter.enqueued_at],
      ['died', letter.died_at],
      ['blocks', letter.blocks ? 'yes: those behind it wait' : 'no'],
    ],
  );
  const attempts = letter.history.flatMap((attempt) => [
    `attempt ${attempt.attempt ?? '-'}  ${attempt.ended_at}  ${attempt.reason}${
      attempt.outcome === null ? '' : `, outcome ${attempt.outcome}`
    }  ${attempt.holder}`,
    ...(attempt.error === null ? [] : [indented(printable(attempt.error))]),
  ]);
  return [
    `${letter.queue} ${letter.claim_id}`,
    indented(facts),
    ...(letter.error === null ? [] : ['error', indented(printable(letter.error))]),
    'payload',
    indented(printable(JSON.stringify(letter.payload, undefined, 2))),
    ...(attempts.length === 0 ? [] : ['history', indented(attempts.join('\n'))]),
  ].join('\n');
}

function indented(text: string): string {
  return text.replace(/^(?=.)/gm, '  ');
}
