import { SignalboxError } from '../protocol/errors.ts';
import { failureKind } from '../store/failures.ts';

/** Gives a database failure its code. Only `overloaded` says that nothing was done; the others leave it unknown. */
export function databaseProblem(error: unknown): unknown {
  if (error instanceof SignalboxError) return error;
  const kind = failureKind(error);
  switch (kind) {
    case 'unavailable':
      return new SignalboxError('database_unavailable', { retryAfterMs: 1000, cause: error });
    case 'timeout':
      return new SignalboxError('database_timeout', { retryAfterMs: 1000, cause: error });
    case 'contended':
      return new SignalboxError('overloaded', {
        detail: 'A lock of this queue was not to be had in time; nothing was done.',
        retryAfterMs: 1000,
        cause: error,
      });
    case 'deposed':
    case 'defect':
      return error;
    default:
      return kind satisfies never;
  }
}

/** The result of what asks the database; its failure with its code. */
export async function withProblems<Result>(work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    throw databaseProblem(error);
  }
}
