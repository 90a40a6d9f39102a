import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import type { LockPeer, QueuePeer } from '../peers/peer.ts';
import type { Rig, Scope } from '../rig.ts';
import type { Contender } from '../rounds.ts';

let installed: Promise<void> | undefined;

/** The peers' packages are no dependencies of ours: the first bench installs them, beside itself. */
function installPeerPackages(rig: Rig): Promise<void> {
  installed ??= install(rig);
  return installed;
}

async function install(rig: Rig): Promise<void> {
  const directory = join(import.meta.dirname, '..');
  if (existsSync(join(directory, 'node_modules'))) return;
  rig.say('  installing the peers of test/bench/package.json');
  try {
    const npm = spawn('npm', ['ci', '--prefix', directory], {
      stdio: ['ignore', 'ignore', 'inherit'],
      // npm runs on the Node it finds there: the one that will run what it installs.
      env: { ...process.env, PATH: `${dirname(process.execPath)}${delimiter}${process.env['PATH'] ?? ''}` },
    });
    const [exitCode] = (await once(npm, 'exit')) as [number | null];
    if (exitCode !== 0) rig.say('  npm ci failed: the peers it would have brought are not measured');
  } catch (error) {
    rig.say(`  npm did not start, the peers it would have brought are not measured: ${String(error)}`);
  }
}

/** Opens the peers that are there, one after another; one that does not start is reported and left out. */
export async function openPeers<Peer extends LockPeer | QueuePeer>(
  rig: Rig,
  scope: Scope,
  openings: readonly (() => Promise<Peer | undefined>)[],
): Promise<Peer[]> {
  await installPeerPackages(rig);
  const peers: Peer[] = [];
  for (const open of openings) {
    try {
      const peer = await open();
      if (peer === undefined) continue;
      scope.defer(() => peer.close());
      peers.push(peer);
    } catch (error) {
      rig.say(`  a peer is left out: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  return peers;
}

export function pairsOf(peer: LockPeer, connections: number, seconds: number): Contender {
  return {
    name: peer.name,
    turn: async () => {
      const { perSecond, p50Ms, p99Ms } = await peer.pairs(connections, seconds);
      return [
        { measure: `pairs_${connections}`, unit: 'pairs/s', value: perSecond },
        { measure: `pairs_${connections}_p50`, unit: 'ms', value: p50Ms },
        { measure: `pairs_${connections}_p99`, unit: 'ms', value: p99Ms },
      ];
    },
  };
}

/** Claim + complete of a full queue. */
export function jobsOf(peer: QueuePeer, measure: string, jobs: number): Contender {
  return {
    name: peer.name,
    turn: async () => [{ measure, unit: 'jobs/s', value: (await peer.claimAndComplete(jobs)).perSecond }],
  };
}
