import { makeQueues, shareQueues } from '../bench-queues.ts';
import { openClients } from '../clients.ts';
import { startSignalbox } from '../contenders/http-contender.ts';
import { pacedPairs } from '../loads/paced-pairs.ts';
import { pairLoad } from '../loads/pair-load.ts';
import type { Measure } from '../rig.ts';

const offeredPerSecond = 2000;
const clientCount = 128;

/**
 * A transaction that keeps its snapshot for minutes keeps vacuum from removing any row that died since. The same load
 * before, while and after; the pin is measured in windows, so that its spread shows what time does to it.
 */
export const pinnedSnapshot: Measure = {
  name: 'pinned-snapshot',
  run: async (rig, scope) => {
    const { isQuick, seconds } = rig.extent;
    const [freeSeconds, windowSeconds, windows] = isQuick ? [7, 10, 3] : [60, 60, 5];
    const server = await startSignalbox(rig, scope);
    const database = await rig.connect(server.databaseUrl, scope);
    const pinning = await rig.connect(server.databaseUrl, scope);
    await makeQueues(server, database);
    using clients = openClients(server.urls, clientCount);
    const queueOf = shareQueues(clientCount);
    const paced = async (contender: string, forSeconds: number) => {
      const rate = await pacedPairs(clients, { perSecond: offeredPerSecond, seconds: forSeconds, queueOf });
      rig.results.add('paced_pairs', contender, 'pairs/s', rate.perSecond);
      rig.results.add('paced_pairs_p99', contender, 'ms', rate.p99Ms);
    };
    const unpaced = async (contender: string) => {
      const { perSecond } = await pairLoad(clients, { seconds, queueOf });
      rig.results.add('unpaced_pairs', contender, 'pairs/s', perSecond);
    };

    await pairLoad(clients, { seconds, queueOf });
    await paced('snapshot_free', freeSeconds);
    await unpaced('snapshot_free');
    await pinning.query('begin isolation level repeatable read');
    await pinning.query('select from signalbox.lines limit 1');
    for (let window = 0; window < windows; window++) await paced('snapshot_pinned', windowSeconds);
    await unpaced('snapshot_pinned');
    const { rows } = await database.query<{ name: string; dead: number }>(
      `select relname as name, n_dead_tup::float8 as dead from pg_stat_user_tables
       where schemaname = 'signalbox' and n_dead_tup > 0 order by n_dead_tup desc`,
    );
    for (const { name, dead } of rows) rig.results.add('dead_rows_at_the_end_of_the_pin', name, 'rows', dead);
    await pinning.query('rollback');
    await database.query('vacuum');
    await paced('snapshot_free', freeSeconds);
    await unpaced('snapshot_free');
  },
};
