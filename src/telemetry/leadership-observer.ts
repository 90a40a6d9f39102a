import type { LeadershipEvent } from '../leadership/events.ts';
import type { MaintenanceEvent } from '../maintenance/chore.ts';
import type { Logger } from './log.ts';
import type { Metrics } from './metrics.ts';

export interface LeadershipObserver {
  readonly onLeadership: (event: LeadershipEvent) => void;
  readonly onChore: (event: MaintenanceEvent) => void;
}

/** Turns what leadership and its chores tell into log lines and metrics. */
export function leadershipObserver(options: { readonly log: Logger; readonly metrics: Metrics }): LeadershipObserver {
  const { log, metrics } = options;
  return {
    onLeadership(event) {
      switch (event.kind) {
        case 'term.started':
          metrics.countTerm('started');
          log.info({ epoch: event.term.epoch }, 'leads');
          return;
        case 'term.ended':
          metrics.countTerm(event.reason === 'stopping' ? 'resigned' : 'lost');
          log[event.reason === 'stopping' ? 'info' : 'warn'](
            { epoch: event.term.epoch, reason: event.reason },
            'leads no more',
          );
          return;
        case 'term.resigned':
          log.debug({ epoch: event.term.epoch }, 'resigned: the lock is free');
          return;
        case 'term.write_refused':
          log.warn(
            { epoch: event.term.epoch, err: event.error },
            'a write of this term was refused: somebody else leads',
          );
          return;
        case 'term.service_failed':
          log.error(
            { epoch: event.term.epoch, during: event.during, err: event.error },
            'a service of the term failed',
          );
          return;
        case 'leadership.attempt_failed':
          log.warn({ attempt: event.attempt, err: event.error }, 'an attempt of the election failed');
          return;
        case 'replica.report_failed':
          log.warn({ err: event.error }, 'this replica could not report itself');
          return;
        default:
          event satisfies never;
      }
    },
    onChore(event) {
      switch (event.kind) {
        case 'chore.done': {
          metrics.observeChore(event.chore, 'ok', event.durationMs / 1000, event.counts);
          const didSomething = Object.values(event.counts).some((count) => count > 0);
          log[didSomething ? 'info' : 'trace'](
            { chore: event.chore, duration_ms: Math.round(event.durationMs), ...event.counts },
            'chore done',
          );
          return;
        }
        case 'chore.failed':
          metrics.observeChore(event.chore, 'failed', event.durationMs / 1000, {});
          log.warn({ chore: event.chore, duration_ms: Math.round(event.durationMs), err: event.error }, 'chore failed');
          return;
        case 'chore.record_failed':
          log.warn({ chore: event.chore, err: event.error }, 'the record of a chore could not be written');
          return;
        case 'history.running_short':
          log.error(
            { days_ahead: event.daysAhead },
            'history partitions run short: without one nothing can be released',
          );
          return;
        default:
          event satisfies never;
      }
    },
  };
}
