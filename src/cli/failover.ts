import type { Command } from 'commander';
import type { SignalboxClient } from '../client/index.ts';
import { AcceptFailoverBody, type Failover } from '../protocol/orchestrator.ts';
import { fitting } from './arguments.ts';
import { inWords } from './duration.ts';
import { exitCode } from './exit-codes.ts';
import { type ActorFlags, operatorCommand, withActorOption } from './operator-command.ts';
import type { Environment } from './program.ts';
import { type ServiceFlags, withServiceOptions } from './service-options.ts';

interface ShowFlags extends ServiceFlags {
  readonly json?: true;
}
interface AcceptFlags extends ActorFlags {
  readonly timeline?: string;
}

/** Adds `failover show` and `accept`: clients of a running service. */
export function addFailoverCommands(program: Command, environment: Environment, done: (code: number) => void): void {
  const failover = program.command('failover').description('failovers of the database: look, and end the quarantine');
  withServiceOptions(failover.command('show'))
    .description('show the last failover that was seen, and for how long queues still grant nothing new')
    .option('--json', 'print one JSON document')
    .action(async (flags: ShowFlags) => {
      done(await operatorCommand(flags, environment, (client) => show(client, flags)));
    });
  withActorOption(withServiceOptions(failover.command('accept')))
    .description('say that it lost nothing, or that nobody holds on to what it lost: all quarantines end')
    .option(
      '--timeline <timeline>',
      'only if it is the one that `show` told of',
      fitting(AcceptFailoverBody.shape.timeline),
    )
    .option('--json', 'print the answer as JSON')
    .action(async (flags: AcceptFlags) => {
      done(await operatorCommand(flags, environment, (client) => accept(client, flags)));
    });
}

async function show(client: SignalboxClient, { json }: ShowFlags): Promise<number> {
  // A service of an earlier version says nothing of it.
  const failover = (await client.orchestrator()).failover ?? null;
  console.log(json === true ? JSON.stringify({ failover }) : failoverText(failover));
  return exitCode.ok;
}

/** Exit 0 when the failover is accepted, now or before; 1 when there is none, or another one than was meant. */
async function accept(client: SignalboxClient, flags: AcceptFlags): Promise<number> {
  const { actor, json } = flags;
  const answer = await client.acceptFailover({ actor, timeline: flags.timeline });
  const { accepted, failover } = answer;
  if (json === true) console.log(JSON.stringify(answer));
  else console.log(accepted ? 'accepted: queues grant again within about a second' : failoverText(failover));
  if (accepted) return exitCode.ok;
  const isMeant = flags.timeline === undefined || flags.timeline === failover?.timeline;
  if (!isMeant) console.error(`signalbox: timeline ${flags.timeline} is not that of the last failover`);
  return failover?.accepted_at != null && isMeant ? exitCode.ok : exitCode.failed;
}

function failoverText(failover: Failover | null): string {
  if (failover === null) return 'no failover of the database was seen';
  const {
    at,
    timeline: to,
    previous,
    accepted_at: acceptedAt,
    accepted_by: acceptedBy,
    quarantine_ms: leftMs,
  } = failover;
  const seen = `failover at ${at}, from timeline ${previous ?? 'unknown'} to ${to}`;
  if (acceptedAt !== null) return `${seen}: accepted by ${acceptedBy ?? 'somebody'} at ${acceptedAt}`;
  return leftMs === 0 ? `${seen}: no quarantine` : `${seen}: queues grant nothing new for up to ${inWords(leftMs)}`;
}
