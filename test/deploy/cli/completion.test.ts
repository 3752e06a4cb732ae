/** `redoubt complete`: what a shell is told when the key is pressed. */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'

import test from 'ava'

const LAUNCHER = join(import.meta.dirname, '../../../deploy/cli/redoubt.js')
const cwd = join(import.meta.dirname, '../../fixtures/inspect')

async function redoubt(...args: readonly string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(process.execPath, [LAUNCHER, ...args], { cwd })
  return stdout
}

/** The words that are suggested after `words`, the last of which is being typed. */
async function suggestions(...words: readonly string[]): Promise<readonly string[]> {
  const lines = (await redoubt('complete', '--', ...words)).trimEnd().split('\n')
  return lines.slice(0, -1).map((line) => line.split('\t')[0] ?? '')
}

// Each is a process, which is dear: one of a kind.
test('complete suggests commands, choices of options, and files where a file is wanted', async (t) => {
  t.deepEqual(await suggestions('cert', 'in'), ['inspect'])
  t.deepEqual(await suggestions('cert', 'inspect', '--output', 'j'), ['json'])
  t.deepEqual(await suggestions('cert', 'inspect', '--bundle', '../inspect/r'), [
    '../inspect/renewed.pem',
    '../inspect/root.pem',
  ])
})

test('complete prints a script that asks it again', async (t) => {
  t.regex(await redoubt('complete', 'zsh'), /redoubt complete --/)
})
