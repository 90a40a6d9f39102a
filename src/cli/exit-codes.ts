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
