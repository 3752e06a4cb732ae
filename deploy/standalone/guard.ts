/**
 * What outlives the supervisor by a moment. A supervisor that is killed with SIGKILL cannot stop
 * what it started. Our own processes see their channel end; an app is a program of the user's and
 * sees nothing. So a shell of some hundred kilobytes, in a session of its own, reads from a pipe
 * which process groups there are; when the pipe ends, it ends them.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Writable } from 'node:stream'

/** `+N` a group begins, `-N` it has ended; at the end of the input the rest is ended, then killed. */
const SCRIPT = `
trap '' HUP INT TERM QUIT
groups=' '
while read -r line; do
  case $line in
    +*) groups="$groups\${line#+} " ;;
    -*) g=\${line#-}; case $groups in *" $g "*) groups="\${groups%% $g *} \${groups#* $g }" ;; esac ;;
  esac
done
for g in $groups; do kill -TERM "-$g" 2>/dev/null; done
[ "$groups" = ' ' ] || sleep 1
for g in $groups; do kill -KILL "-$g" 2>/dev/null; done
`

/** Disposing it ends the guard, and with it every group that is still there. */
export interface Guard extends AsyncDisposable {
  readonly pid: number
  /** `group` is the pid of its leader. */
  readonly add: (group: number) => void
  readonly remove: (group: number) => void
}

/**
 * Starts a guard; a guard that dies is replaced.
 *
 * @param supervisor - Its pid, which `ps` then shows.
 */
export function openGuard(supervisor: number): Guard {
  const groups = new Set<number>()
  let isOpen = true
  const start = (): ChildProcessByStdio<Writable, null, null> => {
    const shell = spawnGuard(supervisor)
    shell.on('exit', () => {
      if (isOpen) current = start()
    })
    for (const group of groups) shell.stdin.write(`+${group}\n`)
    return shell
  }
  let current = start()
  return {
    get pid() {
      return current.pid ?? 0
    },
    add(group) {
      groups.add(group)
      current.stdin.write(`+${group}\n`)
    },
    remove(group) {
      if (groups.delete(group)) current.stdin.write(`-${group}\n`)
    },
    async [Symbol.asyncDispose]() {
      isOpen = false
      const gone = current.exitCode === null && current.signalCode === null
      const exited = gone ? once(current, 'exit') : undefined
      current.stdin.end()
      await exited
    },
  }
}

function spawnGuard(supervisor: number): ChildProcessByStdio<Writable, null, null> {
  const shell = spawn('/bin/sh', ['-c', SCRIPT, 'redoubt-guard', String(supervisor)], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
    env: { PATH: '/usr/bin:/bin' },
  })
  // A pipe to a guard that has just died: its successor is told everything anew.
  shell.stdin.on('error', () => {})
  shell.on('error', () => {})
  return shell
}
