/** Providers of a bundle, compiled: this folder is loaded by the first bundle that has any. */
import type { ExtensionProvider } from '#policy/model/index.ts'
import { compileAskHttp } from './ask-http.ts'
import { changeResponse, headerText, linesOfOwn } from './change-headers.ts'
import { consultConnection } from './consult-connection.ts'
import { Consultation } from './consultation.ts'
import type { Ask, AskedProvider } from './question.ts'
import type { Providers } from './providers.ts'

export async function compileProviders(
  providers: Readonly<Record<string, ExtensionProvider>>,
): Promise<Providers> {
  const compiled = await Promise.all(
    Object.entries(providers).map(async ([name, settings]) => {
      const { failOpen, statusOnError, body } = settings
      const ask = await compileAsk(settings)
      return [name, { failOpen, statusOnError, body, ask }] as const
    }),
  )
  const asked: ReadonlyMap<string, AskedProvider> = new Map(compiled)
  return {
    consult: (held, host, deps) => new Consultation(held, host, { providers: asked, deps }),
    consultConnection: (ask, asking, done) =>
      consultConnection(ask, { ...asking, providers: asked }, done),
    changeResponse,
    linesOfOwn,
    headerText,
  }
}

async function compileAsk(settings: ExtensionProvider): Promise<Ask> {
  switch (settings.kind) {
    case 'http':
      return compileAskHttp(settings)
    case 'grpc':
      // Whoever asks over HTTP alone loads no gRPC.
      return (await import('./ask-grpc.ts')).compileAskGrpc(settings)
    default:
      return settings satisfies never
  }
}
