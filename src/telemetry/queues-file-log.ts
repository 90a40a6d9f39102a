import type { QueuesFileEvent } from '../config/queues-file-keeper.ts';
import type { Logger } from './log.ts';

/** Writes down what became of the file of `QUEUES_FILE`; nothing while nothing changes. */
export function queuesFileLog(log: Logger): (event: QueuesFileEvent) => void {
  return (event) => {
    switch (event.kind) {
      case 'applied':
        if (event.changes.length > 0) log.info({ changes: event.changes }, 'queues set as the file says');
        if (event.notDone.length > 0) log.warn({ changes: event.notDone }, 'part of the file of queues was not done');
        return;
      case 'refused':
        log.error({ problems: event.problems }, 'the file of queues is refused; what was applied last stays');
        return;
      case 'failed':
        log.warn({ err: event.error }, 'the file of queues could not be applied; trying again');
        return;
      default:
        event satisfies never;
    }
  };
}
