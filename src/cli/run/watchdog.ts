/**
 * The watchdog of `signalbox run`: a process of its own that starts the command, so that there is no moment in which the
 * command runs unguarded, and ends it when its lease does. It depends on nothing but Node.
 *
 *   node watchdog.ts <stopAtMs> <killAtMs> <graceMs> command args…      fd 3: a socket to the wrapper
 *
 * Times are ms of the system's monotonic clock (process.hrtime), which all processes of a machine share: a deadline that is
 * read late, because either side was paused, is still the same deadline.
 *
 *   in   {"deadline": {"stopAtMs", "killAtMs"}}   a renewal          {"signal": "SIGTERM"}   pass it on to the group
 *        {"abandon": true}   do not start it any more
 *   out  {"started": {"pid", "startTime"}}  {"failed": "ENOENT"}  {"late": true}
 *        {"exited": {"code", "signal", "isForced"}}  {"done": true}
 *
 * A watchdog that is up only after `stopAtMs` (a busy machine) starts the command with the next renewal; a signal or
 * "abandon" before that ends it with "late".
 *
 * TERM goes to the command's group at `stopAtMs`, KILL at `killAtMs`, whatever the wrapper does: paused, cut off, dead. When
 * the wrapper is gone (the socket closes) TERM goes at once and KILL at `killAtMs` at the latest. What the command leaves in
 * its group when it ends gets TERM, and KILL after `graceMs`. Then the watchdog ends.
 */
import { spawn } from 'node:child_process';
import { Socket } from 'node:net';
import { groupHasMembers, startTimeOf } from './process-group.ts';

const [stopArgument, killArgument, graceArgument, file = '', ...args] = process.argv.slice(2);
let deadline = { stopAtMs: Number(stopArgument), killAtMs: Number(killArgument) };
let isForced = false;
let isStopSent = false;
let hasLeaderEnded = false;
let timer: NodeJS.Timeout | undefined;

const nowMs = () => Number(process.hrtime.bigint()) / 1e6;
const wrapper = new Socket({ fd: 3 });
const tell = (message: object) => wrapper.write(`${JSON.stringify(message)}\n`);

// Meant for the command or its wrapper, and passed on there; this process ends with the command only.
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => undefined);
wrapper.on('error', () => undefined);

interface Message {
  readonly deadline?: typeof deadline;
  readonly signal?: NodeJS.Signals;
  readonly abandon?: true;
}

/** Set once the command runs. */
let guard: { readonly enforce: () => void; readonly passOn: (signal: NodeJS.Signals) => void } | undefined;
let unread = '';
wrapper.setEncoding('utf8').on('data', (chunk: string) => {
  const lines = (unread + chunk).split('\n');
  unread = lines.pop() ?? '';
  for (const line of lines) {
    const message = JSON.parse(line) as Message;
    // What is left behind is not worked for: its end does not move.
    if (message.deadline !== undefined && !hasLeaderEnded) deadline = message.deadline;
    if (message.signal !== undefined) guard?.passOn(message.signal);
    if (guard === undefined && (message.signal ?? message.abandon) !== undefined) {
      wrapper.end('{"late":true}\n', () => process.exit(0));
      return;
    }
  }
  if (guard === undefined) startInTime();
  else guard.enforce();
});
wrapper.on('close', () => {
  if (guard === undefined) process.exit(0);
  deadline = { ...deadline, stopAtMs: 0 };
  guard.enforce();
});
startInTime();

function startInTime(): void {
  if (nowMs() < deadline.stopAtMs) start();
}

function start(): void {
  const child = spawn(file, args, { detached: true, stdio: ['inherit', 'inherit', 'inherit'] });
  const { pid } = child;
  child.on('error', (error: NodeJS.ErrnoException) => {
    if (pid === undefined) wrapper.end(`${JSON.stringify({ failed: error.code })}\n`, () => process.exit(0));
  });
  if (pid === undefined) return;
  const startTime = startTimeOf(pid);
  tell({ started: { pid, startTime } });

  const signalGroup = (signal: NodeJS.Signals) => {
    const present = startTimeOf(pid);
    // The leader's number belongs to another process by now: its group is not ours.
    if (present !== undefined && present !== startTime) return;
    try {
      process.kill(-pid, signal);
    } catch {
      // Nobody is left in it.
    }
  };

  /** Does what is due by now, and comes back when the next thing is. */
  const enforce = () => {
    clearTimeout(timer);
    if (hasLeaderEnded && !groupHasMembers(pid)) {
      wrapper.end('{"done":true}\n', () => process.exit(0));
      // A wrapper that is gone or paused reads nothing.
      setTimeout(() => process.exit(0), 100);
      return;
    }
    const now = nowMs();
    if (now >= deadline.killAtMs) {
      isForced ||= !hasLeaderEnded;
      signalGroup('SIGKILL');
    } else if (now >= deadline.stopAtMs && !isStopSent) {
      isStopSent = true;
      isForced ||= !hasLeaderEnded;
      signalGroup('SIGTERM');
    }
    const nextMs = (isStopSent ? deadline.killAtMs : deadline.stopAtMs) - now;
    timer = setTimeout(enforce, now >= deadline.killAtMs || hasLeaderEnded ? 25 : Math.max(1, nextMs));
  };

  child.on('exit', (code, signal) => {
    hasLeaderEnded = true;
    tell({ exited: { code, signal, isForced } });
    const now = nowMs();
    deadline = { stopAtMs: now, killAtMs: Math.min(deadline.killAtMs, now + Number(graceArgument)) };
    isStopSent = false;
    enforce();
  });

  guard = { enforce, passOn: signalGroup };
  enforce();
}
