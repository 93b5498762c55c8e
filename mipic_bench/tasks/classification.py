"""Single-text classification, scored by a probe.

The hub ids and revisions of Banking77, Emotion and TweetSentiment are those of mteb 2.26's own task metadata, those of TweetEval and MR
the ones public code pins; none could be downloaded where this file was written.
"""

from mipic_bench.tasks._base import Task

BANKING77 = Task(
    name="banking77",
    family="classification",
    title="Banking77: 77 intents of bank customers",
    source="mteb/banking77",
    revision="0fd18e25b25c072e09e0d92ab615fda904d66300",
    mteb="Banking77Classification",
    licence="CC BY 4.0",
    citation="Casanueva et al. Efficient Intent Detection. NLP4ConvAI 2020. https://aclanthology.org/2020.nlp4convai-1.5",
)
EMOTION = Task(
    name="emotion",
    family="classification",
    title="Emotion (CARER): six emotions in tweets",
    source="mteb/emotion",
    revision="4f58c6b202a23cf9a4da393831edf4f9183cad37",
    mteb="EmotionClassification",
    licence="not specified (educational and research use)",
    citation="Saravia et al. CARER. EMNLP 2018. https://aclanthology.org/D18-1404",
    label_names=("sadness", "joy", "love", "anger", "fear", "surprise"),
)
TWEET_SENTIMENT = Task(
    name="tweet_sentiment",
    family="classification",
    title="TweetSentimentExtraction: three sentiments in tweets",
    source="mteb/tweet_sentiment_extraction",
    revision="d604517c81ca91fe16a244d1248fc021f9ecee7a",
    mteb="TweetSentimentExtractionClassification",
    licence="not specified",
    citation="Maggie, Culliton, Chen. Tweet Sentiment Extraction. Kaggle 2020. https://kaggle.com/competitions/tweet-sentiment-extraction",
    label_names=("negative", "neutral", "positive"),
)
TWEETEVAL_EMOTION = Task(
    name="tweeteval_emotion",
    family="classification",
    title="TweetEval emotion: anger, joy, optimism, sadness",
    source="cardiffnlp/tweet_eval",
    revision="b3a375baf0f409c77e6bc7aa35102b7b3534f8be",
    licence="released without restrictions by TweetEval; those of SemEval-2018 Task 1 may apply",
    citation="Barbieri et al. TweetEval. Findings of EMNLP 2020. https://aclanthology.org/2020.findings-emnlp.148",
    config="emotion",
)
TWEETEVAL_IRONY = Task(
    name="tweeteval_irony",
    family="classification",
    title="TweetEval irony: ironic or not",
    source="cardiffnlp/tweet_eval",
    revision="b3a375baf0f409c77e6bc7aa35102b7b3534f8be",
    licence="released without restrictions by TweetEval; those of SemEval-2018 Task 3 may apply",
    citation="Barbieri et al. TweetEval. Findings of EMNLP 2020. https://aclanthology.org/2020.findings-emnlp.148",
    config="irony",
)
MR = Task(
    name="mr",
    family="classification",
    title="Movie reviews: positive or negative sentences (no official split; the hub's copy brings one of its own)",
    source="cornell-movie-review-data/rotten_tomatoes",
    revision="aa13bc287fa6fcab6daf52f0dfb9994269ffea28",
    licence="not specified",
    citation="Pang, Lee. Seeing Stars. ACL 2005. https://aclanthology.org/P05-1015",
    label_names=("negative", "positive"),
)
