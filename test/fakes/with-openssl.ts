/** Tests that hold against the `openssl` command, where the machine has one. */
import { spawnSync } from 'node:child_process'

import test, { type Implementation } from 'ava'

const hasOpenssl = spawnSync('openssl', ['version']).status === 0

/** `test()`, or a skipped test that says what is missing. */
export function withOpenssl(title: string, run: Implementation<[]>): void {
  if (hasOpenssl) test(title, run)
  else test.skip(`${title} (SKIPPED: this machine has no openssl command)`, run)
}
