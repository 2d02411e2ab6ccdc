// Loaded by ws-transport.test.ts with a plain require(): what a CommonJS user writes.
const { HoldfastClient, HoldfastError } = require('@holdfast/client');

if (typeof HoldfastClient.connect !== 'function') process.exit(2);
HoldfastClient.connect({ nodes: ['127.0.0.1:1'], timeoutMs: 200 }).then(
  () => process.exit(3),
  (error) => {
    if (!(error instanceof HoldfastError)) process.exit(4);
    process.stdout.write(error.code);
  },
);
