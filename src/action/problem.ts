/** What ends a step in red, in words for the person who reads the log. Anything else that is thrown is a defect of ours. */
export class ActionProblem extends Error {}

/** The job was cancelled, or the step ran into its own time limit of the workflow. */
export class Cancelled extends ActionProblem {
  constructor() {
    super('cancelled');
  }
}
