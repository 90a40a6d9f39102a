import type { ServerResponse } from 'node:http';
import { fits } from './objects.ts';
import type { Change, RunStore } from './run-store.ts';

const bookmarkEveryMs = 200;

/** What a watch has to know of its request. */
export interface WatchCall {
  readonly namespace: string;
  readonly query: URLSearchParams;
}

/** Streams what happens after the version asked for, with bookmarks; a version that is forgotten gets 410 as an event. */
export function serveWatch(runs: RunStore, { namespace, query }: WatchCall, response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'application/json' });
  response.flushHeaders();
  const write = (event: object) => response.write(`${JSON.stringify(event)}\n`);
  const from = Number(query.get('resourceVersion') ?? runs.version);
  if (from < runs.oldestVersion) {
    write({ type: 'ERROR', object: { kind: 'Status', code: 410, reason: 'Expired', message: `too old: ${from}` } });
    response.end();
    return;
  }
  const selector = query.get('labelSelector');
  const tell = ({ type, run, before }: Change) => {
    if (namespace !== '' && run.metadata.namespace !== namespace) return;
    const [was, is] = [
      before !== undefined && fits(before.metadata.labels, selector),
      fits(run.metadata.labels, selector),
    ];
    if (type === 'DELETED' ? was : was && !is) write({ type: 'DELETED', object: run });
    else if (is && type !== 'DELETED') write({ type: was ? 'MODIFIED' : 'ADDED', object: run });
  };
  for (const change of runs.changes) if (change.version > from) tell(change);
  const stop = runs.onChange(tell);
  const bookmarks =
    query.get('allowWatchBookmarks') === 'true'
      ? setInterval(() => {
          const metadata = { resourceVersion: `${runs.version}` };
          write({ type: 'BOOKMARK', object: { kind: 'PipelineRun', apiVersion: 'tekton.dev/v1', metadata } });
        }, bookmarkEveryMs)
      : undefined;
  response.on('close', () => {
    stop();
    clearInterval(bookmarks);
  });
}
