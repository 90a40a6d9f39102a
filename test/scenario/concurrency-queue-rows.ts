/**
 * The rows of the field's list: what concurrency queues for pipeline runs (Pipelines-as-Code: its memory backend, its lease
 * backend, its open issues) were tested for or got wrong. P: scenarios. M: failures of the memory backend. L: defects of the
 * lease backend. The test of a row bears its name, `it('P43: …')`, `it('P04, P08: …')`; concurrency-queue-rows.test.ts checks
 * that every row that applies has one in each room named here, and that no test is named after a row that does not apply.
 */
export type Room =
  /** The service: SQL, HTTP, client, chores. */
  | 'queue'
  /** The gate for Tekton: test/tekton. */
  | 'gate';

export type Row =
  { readonly says: string; readonly shownIn: readonly Room[] } | { readonly says: string; readonly appliesNot: string };

const inQueue = (says: string): Row => ({ says, shownIn: ['queue'] });
const inGate = (says: string): Row => ({ says, shownIn: ['gate'] });
const inBoth = (says: string): Row => ({ says, shownIn: ['queue', 'gate'] });
const not = (says: string, appliesNot: string): Row => ({ says, appliesNot });

export const rows: Readonly<Record<string, Row>> = {
  P01: inBoth('limit 1, two ask: the older goes, the younger waits, both say so'),
  P02: inBoth('a claim long past its time is claimed again'),
  P03: inBoth('one completes: the next one has its place'),
  P04: inBoth('a queue has one key, stable, of its own'),
  P05: inBoth('an older wish is not overtaken by the rest of a newer event (theirs asserts the opposite, see L8)'),
  P06: inGate('a malformed run holds up no sound one, and is told why'),
  P07: inGate('a run that could not be started is still in line'),
  P08: inBoth('two names that look alike are two queues'),
  P09: inQueue('a release keeps the row and ends the lease in it'),
  P10: inQueue('two cycles: one row made, none deleted'),
  P11: inQueue('a release of a lease of somebody else writes nothing'),
  P12: inBoth('two askers: what one has, the other gets only when it is given back'),
  P13: inQueue('a release of no lease writes nothing and is no failure of the service'),
  P14: inQueue('when a lease is over, to the millisecond'),
  P15: inQueue('who may take a lease: none, ended, own, expired; not a living one of somebody else'),
  P16: inQueue('taking a claim back: bad name, gone, of another queue, own'),
  P17: inQueue('a removed queue leaves nothing; removing it again is harmless'),
  P18: inBoth('holders and line are told exactly'),
  P19: inQueue('limit 0 gives nothing, not even at a hand-over; unset drains (theirs: nothing)'),
  P20: inBoth('a caller that gives up: its work never runs'),
  P21: inBoth('what a recovery picks: one a queue, the oldest; what it passes over'),
  P22: inQueue('two free queues, one busy: exactly two are woken'),
  P23: inGate('seen as waiting, in truth cancelled: not started'),
  P24: inQueue('a queue that is full, or whose place is offered, is left alone by the recovery'),
  P25: inGate('whether a run goes'),
  P26: inQueue('intervals of 0 or less'),
  P27: inGate('a refused start is told with its error, and is no block'),
  P28: inGate('with every write to a run refused the queue goes on'),
  P29: inGate('a run that leaves the line loses what said that it waits'),
  P30: inGate('nothing new: nothing written'),
  P31: inGate('a run that moved on: one write cleans it, none if it is clean'),
  P32: inQueue('settings that are loaded again: changed, same, unusable'),
  P33: inQueue('a lease without owner or with a malformed time'),

  P40: inBoth('order by priority, each once; a limit raised and lowered meanwhile'),
  P41: inQueue('equal times: in the order of their coming'),
  P42: inQueue('already in line, asked again with a better priority: ignored'),
  P43: inQueue('lists one after another; one place more admits exactly the oldest'),
  P44: inQueue('the same list asked thrice is started once'),
  P45: inGate('a run set pending by somebody else, not ours'),
  P46: inBoth('after a restart: who goes and the order of the line'),
  P47: inGate('the oldest are malformed: the others are there after a restart'),
  P48: inBoth('a hundred queues added to, left and deleted in parallel'),
  P49: inBoth('a limit set, then removed'),
  P50: inBoth('only what waits is in the line'),
  P51: inGate('no queue named, empty name, no place: left alone, told, waits'),
  P52: inGate('the start fails after it was stored: the place is kept'),
  P53: inGate('the start fails before: the place is given back'),
  P54: inGate('two admitted, the start of the first fails: the second goes'),
  P55: inGate('both in line are gone: no failure'),
  P56: inGate('one ends; the next is gone, refused, or unclear'),
  P57: inQueue('a caller that gives up costs one wish and one end'),
  P58: inGate('one finished, the next vanished: nobody holds, a new one goes'),
  P59: inQueue('a change of one queue wakes that queue only'),
  P60: inBoth('deleted: a waiting one, a going one, the queue'),
  P62: inQueue('looking at a queue: absent, empty, busy, and with its lock held'),
  P61: inQueue('a limit and cancel-in-progress together (theirs: refused; here the older are asked to stop)'),
  P63: inBoth('order of the runs of one event: the one that was given; at the gate by creation, then by name'),

  P70: inBoth('limit 1, ten runs: all succeed, at most one by the recorded times'),
  P71: inQueue('global and local limits: local wins'),
  P72: inBoth('limit 1, five long runs, raised to five: all go, none has ended'),
  P73: inBoth('limit removed: all that wait go'),
  P74: not('the secret of the Git host is away for a while', 'neither service nor gate talks to a Git host'),
  P75: inGate('a poison run in an earlier namespace, and a restart'),
  P76: inBoth('six queues busy, three deleted: the others finish'),
  P77: inGate('writes to runs rejected for a while'),
  P78: inGate('old runs are cleaned up by somebody while the line moves'),

  P80: inGate('malformed entries are passed over'),
  P81: inBoth('done, and the answer lost: the place is kept, nobody else admitted'),
  P82: inBoth('a passing failure: the old place in line is kept'),
  P83: inGate('a release that fails is tried again'),
  P84: inGate('finished, but marked as started: not counted'),
  P85: inBoth('replaced by another of its name: the late write is refused'),
  P86: inBoth('back in line at the old place; over the limit no place comes free'),
  P87: inBoth('which failures are worth another try'),

  L1: inBoth('a holder that is a process: two workers of it hold at once'),
  L2: inBoth('a holder that stalled writes all the same'),
  L3: inBoth('clocks of several machines are compared'),
  L4: inBoth('several places claimed, one promoted'),
  L5: inBoth('the limit is removed and the line stays'),
  L6: inBoth('no recovery while anything goes'),
  L7: inBoth('an age that is stored is written again and again'),
  L8: inBoth('newcomers overtake'),
  L9: inBoth('three meanings of a position'),
  L10: inBoth('every decision lists everything'),

  M1: inGate('started, then a failure gives the place back: too many go'),
  M2: inGate('a place taken for a run that never starts: leaked for ever'),
  M3: inGate('started, the answer lost, place given back: too many go'),
  M4: inGate('a read that fails drops a candidate'),
  M5: inGate('a successor is taken, then the call fails: held by nobody'),
  M6: inBoth('a release that fails is taken for done'),
  M7: inBoth('after a restart finished ones are counted'),
  M8: inBoth('a rebuild stops at the first odd run'),
  M9: inGate('a malformed entry crashes everything'),
  M10: inBoth('unlocked shared state'),
  M11: inBoth('a limit that is not there crashes it'),
  M12: inBoth('a changed limit, local or global, wakes nobody'),
  M13: inQueue('one lock taken twice: stuck for ever'),
  M14: inBoth('clean-up takes what waits'),
  M15: inBoth('a rebuild takes waiting ones for going ones, or keeps deleted ones'),
  M16: inQueue('made, but without a place in the order: waits for ever'),
  M17: inBoth('those granted while there was no limit are not counted'),
  M18: inBoth('tests that only see that all finished'),
};
