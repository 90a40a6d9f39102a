import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, it } from 'vitest';
import { groupHasMembers, startTimeOf } from '../../../src/cli/run/process-group.ts';
import { until } from '../../support/until.ts';

it('a process is known by its number and its start time, as long as it lives', async () => {
  const child = spawn('sleep', ['30'], { detached: true });
  const pid = child.pid ?? NaN;
  const startTime = startTimeOf(pid);
  expect(startTime).toMatch(/^\d+$/);
  expect(startTimeOf(pid)).toBe(startTime);
  expect(startTimeOf(process.pid)).not.toBe(startTime);
  expect(groupHasMembers(pid)).toBe(true);
  child.kill('SIGKILL');
  await once(child, 'exit');
  expect(startTimeOf(pid)).toBeUndefined();
  expect(groupHasMembers(pid)).toBe(false);
});

it('a group lives on without its leader, until its last member has ended', async () => {
  const leader = spawn('sh', ['-c', 'sleep 30 & echo $!'], { detached: true });
  const group = leader.pid ?? NaN;
  let member = '';
  leader.stdout.on('data', (chunk: Buffer) => (member += chunk.toString()));
  await once(leader, 'exit');
  await until(() => member.endsWith('\n'), { what: 'it said its number' });
  expect(startTimeOf(group)).toBeUndefined();
  expect(groupHasMembers(group)).toBe(true);
  process.kill(Number(member), 'SIGKILL');
  await until(() => !groupHasMembers(group), { what: 'the group is empty' });
});
