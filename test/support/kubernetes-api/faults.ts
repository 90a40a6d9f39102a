import type { ApiCall, Fault } from './server.ts';

/** Whether a call clears the pending bit of a run. */
export const isStart = ({ verb, body }: ApiCall): boolean =>
  verb === 'patch' && (body as { spec?: { status?: null } }).spec?.status === null;

export const isStartOf =
  (name: string) =>
  (call: ApiCall): boolean =>
    isStart(call) && call.name === name;

/** The first `times` calls that fit meet the fault. */
export function firstTimes(
  times: number,
  fits: (call: ApiCall) => boolean,
  fault: Fault,
): (call: ApiCall) => Fault | undefined {
  let left = times;
  return (call) => (fits(call) && left-- > 0 ? fault : undefined);
}
