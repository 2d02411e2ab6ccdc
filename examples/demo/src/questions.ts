/** Five questions that READMEs of this project's own dependencies answer. */
export const QUESTIONS: readonly string[] = [
  'How do I detect broken WebSocket connections?',
  'How do retries with exponential backoff and jitter work?',
  'Which glob patterns match hidden files that begin with a dot?',
  'What happens when a signal handler is called while the process exits?',
  'How does a histogram metric get its buckets?',
];
