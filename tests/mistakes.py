"""Bad inputs, generated: words of the command line, and the files they name. Each one is wrong, none by chance right."""

from hypothesis import strategies as st

LETTERS = "abcdefghijklmnopqrstuvwxyz"
word = st.text(LETTERS, min_size=3, max_size=9).map(lambda text: f"zz{text}")  # the name of nothing
escape = st.sampled_from(
    ["../../x", "../x", "..", "/", "/etc/passwd", "a/../../../b", "~/x", "x\\..\\y", "./../zz", "//x"]
)
not_whole = st.one_of(word, st.sampled_from(["1.5", "1e3", "0x10", "٣", "--", "nan", "inf"]))
junk = st.binary(min_size=1, max_size=40).filter(lambda content: b"=" not in content and content.strip())


def option(name, values):
    return values.map(lambda value: ([f"{name}={value}"], {}))


low = st.integers(-(10**9), 0)
OPTIONS = st.one_of(
    option("--dims", st.one_of(low, st.integers(65, 10**30), not_whole)),
    option("--layers", st.one_of(low, st.integers(5, 10**30), not_whole)),
    option(
        "--seeds",
        st.one_of(st.integers(-(10**9), -1), st.integers(2**31, 10**30), not_whole, st.just("3-1"), st.just("0-5000")),
    ),
    option("--batch-size", st.one_of(st.integers(-(10**9), 1), not_whole)),
    option("--max-length", st.one_of(st.integers(-(10**9), 3), not_whole)),
    option("--epochs", st.one_of(low, not_whole)),
    option("--max-steps", st.one_of(low, not_whole)),
    option("--jobs", st.one_of(low, not_whole)),
    option("--checkpoint-every", st.one_of(st.integers(-(10**9), -1), word)),
    option("--precision", st.one_of(word, st.sampled_from(["int4", "Float32", "float32;int8", "fp8"]))),
    option("--device", st.one_of(word, st.sampled_from(["cuda:99", "cpu:1", "cpu:", "cuda:-1", "cuda:x", "CPU"]))),
    option("--dtype", st.one_of(word, st.sampled_from(["float64", "float16", "FLOAT32"]))),
    option(
        "--cluster",
        st.one_of(
            word, st.sampled_from(["dask://", "dask://h", "dask://h:x", "dask://:1", "http://h:1", "dask://h:99999"])
        ),
    ),
    option("--split", st.one_of(word, st.just("train"))),
    option("--protocol", word),
    option("--suite", st.one_of(word, escape)),
)
NAMES = st.one_of(
    option(
        "--method",
        st.one_of(word, escape, word.map("{}.toml".format), word.map("mipic-{}".format), word.map("{}*".format)),
    ),
    option(
        "--method", st.sampled_from(["mipic-alpha=2", "mipic-alpha=", "mrl-dims=[0]", "mrl-dims=[64, 8]", "mrl=1", "."])
    ),
    option("--backbone", st.one_of(word, escape, word.map("./{}".format), st.sampled_from(["tiny@main", "a/b/c"]))),
    option("--corpus", st.one_of(word, escape, st.just("likeness"))),
    option("--task", st.one_of(word, escape, st.just("pairs/nothing"))),
    option("--data", st.one_of(word, st.sampled_from(["../zz", "file.txt", "/etc/passwd"]))),
    option("--results", st.sampled_from(["file.txt", "file.txt/below", "data/pairs/train.csv"])),
)
number = st.one_of(st.integers(-9, 0), st.sampled_from(["nan", "-1.0", "[]", "'x'", "[1, 2]"]))
CHANGES = st.one_of(
    option("--set", word),
    option("--set", st.tuples(word, number).map(lambda pair: f"{pair[0]} = {pair[1]}")),
    option("--set", st.tuples(word, number).map(lambda pair: f"training.{pair[0]} = {pair[1]}")),
    option("--set", st.tuples(word, number).map(lambda pair: f"terms.{pair[0]}.weight = {pair[1]}")),
    option("--set", number.map(lambda value: f"training.learning_rate = {value}")),
    option("--set", number.map(lambda value: f"training.epochs = {value}")),
    option("--set", number.map(lambda value: f"temperature = {value}")),
    option(
        "--set",
        st.sampled_from(["dims = [64, 8]", "dims = [0]", "dims = [65]", "dims = []", "dims = 'some'", "dims = [1.5]"]),
    ),
    option("--set", st.sampled_from(["title = 3", "terms = 3", "alpha = 2", "= 1", "a..b = 1", 'x = "'])),
)


def in_file(path, words, contents):
    return contents.map(lambda content: (words, {path: content if isinstance(content, bytes) else content.encode()}))


HEAD = 'title = "T"\nsource = "S"\n'
RECIPES = in_file(
    "mine.toml",
    ["--method=mine.toml"],
    st.one_of(
        junk,
        word.map(lambda name: f"{HEAD}{name} = 1\n"),
        word.map(lambda name: f"{HEAD}[terms.{name}]\nweight = 1.0\n"),
        word.map(lambda name: f"{HEAD}[terms.nested_info_nce]\n{name} = 1.0\n"),
        word.map(lambda name: f"{HEAD}[training]\n{name} = 1\n"),
        number.map(lambda value: f"{HEAD}[terms.nested_info_nce]\ntemperature = {value}\n"),
        st.sampled_from(
            [
                "",
                'title = "T"\n',
                f"{HEAD}terms = 3\n",
                f"{HEAD}[terms]\nnested_info_nce = 3\n",
                f'{HEAD}[terms.nested_info_nce]\nweight = "alpha"\n',
                f"{HEAD}[terms.nested_info_nce]\nweight = -1\n",
                f"{HEAD}[terms.topk_cka]\ngammas = [2.0]\n",
                f"{HEAD}dims = [8, 8]\n[terms.nested_info_nce]\n",
                f"{HEAD}[ablations]\nno = 3\n",
                f"{HEAD}[sweeps]\nalpha = 3\n",
                f"{HEAD}[backbones]\ntiny = 3\n",
                f'{HEAD}title = "again"\n',
                f"{HEAD}[training]\nepochs = 'many'\n",
            ]
        ),
    ),
)
TASK = in_file(
    "data/bad/test.csv",
    ["--task=bad"],
    st.one_of(
        junk.map(lambda content: content + b"\n"),
        word.map(lambda name: f"sentence1,{name},score\na,b,1\nc,d,2\n"),
        word.map(lambda value: f"sentence1,sentence2,score\na,b,{value}\nc,d,2\n"),
        st.sampled_from(["nan", "inf", ""]).map(lambda value: f"sentence1,sentence2,score\na,b,{value}\nc,d,2\n"),
        st.sampled_from(
            [
                b"",
                b"sentence1,sentence2,score\n",
                b"sentence1,sentence2,score\na,b,1\n",
                b"sentence1,sentence2,score\na,,1\nc,d,2\n",
                b"sentence1,sentence2,score\na,b,1\nc,d\n",
                b"sentence1,sentence2,score\na,b,1\nc,d,1\n",
                b"sentence1,sentence2,score\n\xff\xfe,b,1\nc,d,2\n",
                b"sentence1,sentence2,label\na,b,1\nc,d,1\n",
                b"text,label\na,x\nb,x\n",
                b"a,b,c\n1,2,3\n4,5,6\n",
            ]
        ),
    ),
)
CORPUS = in_file(
    "data/worse/train.csv",
    ["--corpus=worse"],
    st.one_of(
        junk.map(lambda content: content + b"\n"),
        st.tuples(word, word).map(lambda names: f"{names[0]},{names[1]}x\na,b\nc,d\n"),
        st.sampled_from(
            [
                b"",
                b"anchor,positive\n",
                b"anchor,positive\na,b\n",
                b"anchor,positive\na,\nc,d\n",
                b"anchor,positive\na,b,c\nd,e\n",
                b"anchor,positive\n\xff\xfe\xfa,b\nc,d\n",
                b"sentence1,sentence2,score\na,b,x\nc,d,1\n",
                b"text\n\n\n",
            ]
        ),
    ),
)
COLUMNS = (
    b"source,locator,backbone,method,base_method,ablation,corpus,family,task,split,protocol,metric,"
    b"layer,dim,precision,value,stderr,n,seeds,note\n"
)
BASELINES = in_file(
    "published.csv",
    ["compare", "--baselines=published.csv", "--out=out.csv", "--results=finished"],
    st.one_of(
        junk,
        word.map(lambda name: f"{name},value\n1,2\n"),
        st.sampled_from([b"", b"\n", b"value\n1\n", b"\xff\xfe\n", COLUMNS + b"1,2\n"]),
    ),
)
OTHERS = st.one_of(
    word.map(lambda name: (["list", name], {})),
    st.one_of(word, escape).map(lambda name: (["show", name], {})),
    word.map(lambda name: (["show", "mrl", f"--backbone={name}"], {})),
    st.sampled_from(["4x", "x64", "-1x8"]).map(lambda shape: (["show", "mrl", f"--backbone={shape}"], {})),
    st.one_of(word, st.just("data")).map(lambda name: (["report", f"--results={name}", "--out=report"], {})),
    st.one_of(word, st.just("data"), st.just("file.txt")).map(lambda name: (["merge", name, "--out=merged"], {})),
    word.map(lambda name: (["compare", f"--baselines={name}.csv", "--out=out.csv"], {})),
    word.map(lambda name: (["compare", f"--backbone-map={name}", "--out=out.csv"], {})),
    st.one_of(word, escape).map(lambda name: (["export", name, "--layer=1", "--dim=8", "--out=model"], {})),
    word.map(lambda name: (["check", f"--data={name}"], {})),
    word.map(lambda name: ([name], {})),
)
FOR_RUN = st.one_of(OPTIONS, NAMES, CHANGES, RECIPES, TASK, CORPUS)
MISTAKES = st.one_of(
    st.tuples(st.sampled_from(["run", "plan"]), FOR_RUN),
    st.tuples(st.just(""), st.one_of(BASELINES, OTHERS)),
)
