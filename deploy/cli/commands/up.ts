import type { MeshEvent } from '../../standalone/event.ts'
import { openStandalone } from '../../standalone/open-standalone.ts'
import type { ReadyLine } from '../../standalone/ready-line.ts'
import { stateDirOf } from '../../standalone/state-dir.ts'
import { type Command, listOption, textOption } from '../command.ts'
import { parseForOption } from '../duration.ts'
import { caSettings, LEDGER_OPTIONS } from '../ledger-options.ts'
import { OUTPUT_OPTION, type OutputFormat, outputFormat, paint } from '../output.ts'
import { STATE_OPTION } from '../state-option.ts'
import { untilEnd } from '../until-end.ts'

/** `redoubt up`: a mesh around the user's own commands, in the foreground. */
export const up: Command = {
  name: 'up',
  summary: 'start a mesh from manifests and follow their changes, until Ctrl-C',
  options: [
    {
      flags: '-f, --file <path>',
      summary: 'file or directory of manifests; - is standard input',
      repeat: true,
      required: true,
    },
    { flags: '--for <duration>', summary: 'end by itself so long after it is ready, e.g. 30s' },
    ...LEDGER_OPTIONS,
    STATE_OPTION,
    OUTPUT_OPTION,
  ],
  examples: [
    { what: 'Start the sample mesh', command: 'redoubt up -f deploy/samples/qotm' },
    {
      what: 'Start your own for 30 s, with machine-readable lines',
      command: 'redoubt up -f mesh/ --for 30s --output json',
    },
  ],
  async run(io, input, signal) {
    const format = outputFormat(input)
    const lastsMs = parseForOption(textOption(input, 'for'))
    const paths = listOption(input, 'file')
    const ready = Promise.withResolvers<void>()
    if (io.isTerminal && format === 'text') io.err('Starting the mesh …')
    await using mesh = await openStandalone(
      {
        paths,
        ca: caSettings(io, input),
        state: stateDirOf(textOption(input, 'state'), io.env, io.cwd),
        ...(paths.includes('-') ? { stdin: await io.readStdin() } : {}),
        // The ready line comes first, whatever happens while the mesh starts.
        onEvent: (event) => void ready.promise.then(() => io.out(eventLine(event, format, io))),
      },
      io,
      signal,
    )
    for (const line of readyText(mesh.readyLine(), format)) io.out(line)
    ready.resolve()
    await untilEnd(lastsMs, io.clock, signal)
    return 0
  },
}

function eventLine(
  event: MeshEvent,
  format: OutputFormat,
  io: { readonly colour: boolean },
): string {
  if (format === 'json') return JSON.stringify(event)
  if (format === 'yaml') return `---\n${JSON.stringify(event)}`
  const { time, event: kind, workload = '', detail } = event
  const style = kind === 'rejected' || kind === 'exited' ? 'red' : 'dim'
  return paint(
    io,
    style,
    `${time.slice(11, 23)}  ${kind.padEnd(9)}  ${workload.padEnd(16)}  ${detail}`,
  )
}

function gatewayText(gateway: Readonly<Record<string, string>>): string {
  const doors = Object.entries(gateway).map(([port, address]) => `${port} at ${address}`)
  return doors.length === 0 ? '' : `  gateway ${doors.join(', ')}`
}

function readyText(line: ReadyLine, format: OutputFormat): readonly string[] {
  if (format === 'json') return [JSON.stringify(line)]
  if (format === 'yaml') return [`---\n${JSON.stringify(line)}`]
  return [
    `The mesh ${line.trustDomain} is ready. Ctrl-C stops it.`,
    ...line.workloads.map(
      ({ namespace, name, outbound = 'no sidecar', app, gateway = {} }) =>
        `  ${`${namespace}/${name}`.padEnd(24)} app ${Object.values(app).join(' ')}  outbound ${outbound}${gatewayText(gateway)}`,
    ),
    ...line.notReady.map((workload) => `  ${workload} is not ready yet: redoubt logs ${workload}`),
  ]
}
