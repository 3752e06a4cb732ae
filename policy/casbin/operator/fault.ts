/** What is wrong with a text of the operator's. */
export interface TextFault {
  /** Of the text, from 1. */
  readonly line: number
  readonly message: string
  readonly hint?: string
}
