#!/usr/bin/env node
/**
 * The launcher: plain JavaScript that any Node can read. It makes sure that the program runs on a
 * platform it knows and on a Node that is not below the security floor: this one, or the one that
 * npm has installed beside it.
 */
import { spawn } from 'node:child_process'
import * as modules from 'node:module'
import { constants } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Below it, known faults of TLS and HTTP are open. */
const FLOOR = [26, 5, 1]

/** @param {string} line */
function refuse(line) {
  process.stderr.write(`redoubt: ${line}\n`)
  process.exit(2)
}

/** @param {string} version */
function isRecent(version) {
  const parts = version.split('.').map(Number)
  for (const [index, wanted] of FLOOR.entries()) {
    const part = parts[index] ?? 0
    if (part !== wanted) return part > wanted
  }
  return true
}

function platformFault() {
  const { platform, arch } = process
  if (platform !== 'linux' || (arch !== 'x64' && arch !== 'arm64')) {
    return `cannot run on ${platform} ${arch}: Linux on x64 or arm64 is needed`
  }
  // Looking up the names of peers would take seconds where there is no DNS.
  Object.assign(process.report, { excludeNetwork: true })
  const { header } = /** @type {{ header: { glibcVersionRuntime?: string } }} */ (
    process.report.getReport()
  )
  if (header.glibcVersionRuntime) return undefined
  return 'cannot run on this Linux: it has no glibc (musl is not supported)'
}

/** @returns {string | undefined} path of the Node that npm installed with us */
function bundledNode() {
  try {
    const manifest = modules
      .createRequire(import.meta.url)
      .resolve(`node-linux-${process.arch}/package.json`)
    return join(manifest, '..', 'bin', 'node')
  } catch {
    // Installed with --omit=optional.
    return undefined
  }
}

/** Runs this launcher again on another Node: signals go down, the way it ended comes up. */
function relaunch(/** @type {string} */ node) {
  const child = spawn(node, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], {
    stdio: 'inherit',
    env: { ...process.env, REDOUBT_RELAUNCHED: '1' },
  })
  /** @type {NodeJS.Signals[]} */
  const passed = ['SIGTERM', 'SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2']
  for (const signal of passed) {
    process.on(signal, () => {
      // A terminal has sent its Ctrl-C to the child as well; twice would mean "at once".
      if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal)
    })
  }
  child.on('error', (error) => refuse(`cannot start the bundled Node ${node}: ${error.message}`))
  child.on('exit', (code, signal) => {
    process.exit(signal ? 128 + constants.signals[signal] : (code ?? 2))
  })
}

/**
 * Keeps what V8 has compiled, for the next process: a mesh is a dozen processes of the same code, and
 * with it each starts three times as fast. Where the folder cannot be written nothing is kept.
 */
function keepCompiled() {
  process.env['NODE_COMPILE_CACHE'] ??= fileURLToPath(
    new URL('../../node_modules/.cache/redoubt', import.meta.url),
  )
  modules.enableCompileCache(process.env['NODE_COMPILE_CACHE'])
}

const fault = platformFault()
const { node: version } = process.versions
if (fault) {
  refuse(fault)
} else if (isRecent(version)) {
  keepCompiled()
  const { main } = await import('./main.ts')
  process.exitCode = await main(process.argv.slice(2))
} else {
  const node = process.env['REDOUBT_RELAUNCHED'] ? undefined : bundledNode()
  if (node) relaunch(node)
  else {
    refuse(
      `cannot run on Node ${version}: ${FLOOR.join('.')} or newer is needed, and the one that npm installs with redoubt is missing; run npm install without --omit=optional`,
    )
  }
}
