/** What the program ends with. Documented in the README; scripts branch on it. */
export const exitCode = {
  ok: 0,
  /** Something failed that the message names. */
  failed: 1,
  /** The settings or the arguments are not usable. */
  usage: 2,
  /** The schema is past a breaking migration that this program does not know. */
  schemaTooNew: 4,
} as const;

/**
 * What `signalbox run` ends with. In every other case it is the command's own exit code, or 128 + n if signal n ended the
 * command. As with the shell's 126 and 127, a command that uses one of these itself cannot be told apart by the code
 * alone; the line on stderr tells.
 */
export const runExitCode = {
  /** The command did not run: the queue was busy, full or closed, the wait timed out, or the claim ended. */
  notAcquired: 120,
  /** The lease was lost, or was not renewed in time; the command was ended. */
  leaseLost: 121,
  /** The command did not run: the wait was cancelled, by a signal or through the service. */
  cancelled: 122,
  /** The command did not run: the service cannot be reached, or refused the call. */
  noService: 123,
  /** The lease was held, but the command is not executable. */
  notExecutable: 126,
  /** The lease was held, but there is no such command. */
  notFound: 127,
  /** Plus the number of the signal that ended the command. */
  signalBase: 128,
} as const;
